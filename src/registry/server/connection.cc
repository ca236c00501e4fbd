#include "registry/server/connection.h"

#include <time.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <limits>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "registry/server/coming_blob.h"

namespace corten::registry::serving {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast::http;
using boost::system::error_code;

constexpr uint32_t kMaxHead = 16 << 10;
// A body that nobody wants is read up to this, so that its sender sees the answer; then the connection ends.
constexpr uint64_t kMaxDropped = 1 << 20;
constexpr size_t kMaxPending = 256 << 10;
constexpr int kReadsInTurn = 16;
constexpr size_t kSentInTurn = 4 << 20;
constexpr size_t kSendStep = 1 << 20;
constexpr unsigned kGone = 499;  // in the log: the client went away before its answer
constexpr unsigned kCut = 502;   // in the log: an answer that could not be ended, since its source failed
constexpr int64_t kLingerNs = 2'000'000'000;

// Hands a body's bytes on as they come.
struct SinkBody {
  using value_type = std::function<void(std::string_view)>;
  class reader {
   public:
    template <bool is_request, typename F>
    reader(beast::header<is_request, F>&, value_type& sink) : sink_(sink) {}
    void init(const boost::optional<std::uint64_t>&, error_code& ec) { ec = {}; }
    template <typename Buffers>
    size_t put(const Buffers& buffers, error_code& ec) {
      ec = {};
      size_t size = 0;
      for (auto at = asio::buffer_sequence_begin(buffers); at != asio::buffer_sequence_end(buffers); ++at) {
        const asio::const_buffer buffer(*at);
        sink_({static_cast<const char*>(buffer.data()), buffer.size()});
        size += buffer.size();
      }
      return size;
    }
    void finish(error_code& ec) { ec = {}; }

   private:
    value_type& sink_;
  };
};

// RFC 9110 section 5.6.7.
std::string date_now() {
  const time_t now = ::time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  char text[40];
  strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

void add_field(std::string& to, std::string_view name, std::string_view value) {
  to += name;
  to += ": ";
  for (char c : value)
    if (c != '\r' && c != '\n') to += c;
  to += "\r\n";
}

}  // namespace

struct Connection::Parsing {
  beast::request_parser<SinkBody> parser;
  std::unique_ptr<Call> call;
  RequestHead head;
  bool has_begun = false, is_preparing = false, is_recorded = false;
  unsigned status = 0;
  int64_t begun_ns = monotonic_ns(), begun_wall_ns = SystemClock().now_ns();
  std::string target;
  uint64_t received = 0, sent = 0;
};

Connection::Connection(Loop& loop, asio::ip::tcp::socket socket, std::unique_ptr<Channel> channel,
                       Service& service, const ServerLimits& limits, std::string peer,
                       std::shared_ptr<void> slot)
    : loop_(loop),
      socket_(std::move(socket)),
      channel_(std::move(channel)),
      service_(service),
      limits_(limits),
      peer_(std::move(peer)),
      slot_(std::move(slot)),
      since_ns_(monotonic_ns()) {}
Connection::~Connection() = default;

void Connection::start() {
  wait(false);
}

void Connection::enter(State state) {
  state_ = state;
  since_ns_ = monotonic_ns();
  window_ = 0;
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  record(kGone);
  enter(State::kClosed);
  parsing_.reset();
  file_.reset();
  error_code ignored;
  socket_.close(ignored);
  loop_.connections.erase(shared_from_this());
}

void Connection::end() {
  is_last_ = true;
  if (state_ == State::kIdle) close();
}

void Connection::check_time(int64_t now_ns) {
  const auto passed = [&](int64_t seconds) { return now_ns - since_ns_ > seconds * 1'000'000'000; };
  switch (state_) {
    case State::kIdle:
      if (passed(limits_.idle_s)) close();
      break;
    case State::kHead:
      if (passed(limits_.header_s)) close();
      break;
    case State::kBody:
    case State::kAnswering:
      if (!passed(limits_.slow_window_s)) break;
      if (window_ < limits_.slow_bytes) return close();
      since_ns_ = now_ns;
      window_ = 0;
      break;
    case State::kLingering:
      if (now_ns - since_ns_ > kLingerNs) close();
      break;
    case State::kWaiting:
    case State::kStarving:
    case State::kClosed:
      break;
  }
}

void Connection::wait(bool for_write) {
  if (is_waiting_) return;
  is_waiting_ = true;
  using Socket = asio::ip::tcp::socket;
  socket_.async_wait(for_write ? Socket::wait_write : Socket::wait_read,
                     [self = shared_from_this()](const error_code& ec) {
                       self->is_waiting_ = false;
                       if (self->state_ == State::kClosed) return;
                       if (ec) return self->close();
                       self->on_ready();
                     });
}

void Connection::on_ready() {
  if (state_ == State::kAnswering)
    write_more();
  else if (state_ != State::kWaiting && state_ != State::kStarving)
    read_more();
}

void Connection::read_more() {
  for (int turn = 0; turn < kReadsInTurn; turn++) {
    const Moved moved = channel_->read(loop_.buffer.data(), loop_.buffer.size());
    if (moved.state == Moved::State::kWantRead || moved.state == Moved::State::kWantWrite)
      return wait(moved.state == Moved::State::kWantWrite);
    if (moved.state != Moved::State::kSome) return close();
    window_ += moved.bytes;
    if (state_ == State::kLingering) continue;
    take({loop_.buffer.data(), moved.bytes});
    if (!is_reading() && state_ != State::kLingering) return;
    if (moved.bytes < loop_.buffer.size() && !channel_->has_read_ahead()) return wait(false);
  }
  // Others have their turn.
  asio::post(loop_.context, [self = shared_from_this()] {
    if (self->is_reading() || self->state_ == State::kLingering) self->read_more();
  });
}

void Connection::take(std::string_view bytes) {
  is_taking_ = true;
  std::string held;
  if (!pending_.empty()) {
    pending_ += bytes;
    held = std::move(pending_);
    bytes = held;
  }
  pending_ = {};
  bool needs_more = false;
  while (is_reading() && !bytes.empty() && !needs_more) bytes.remove_prefix(parse(bytes, needs_more));
  if (needs_more && bytes.size() > kMaxPending) refuse_malformed(400, "malformed request");
  if (state_ != State::kClosed && state_ != State::kLingering) pending_ = bytes;
  is_taking_ = false;
}

size_t Connection::parse(std::string_view bytes, bool& needs_more) {
  if (!parsing_) {
    parsing_ = std::make_unique<Parsing>();
    parsing_->parser.header_limit(kMaxHead);
    parsing_->parser.body_limit(std::numeric_limits<uint64_t>::max());
    parsing_->parser.get().body() = [this](std::string_view body) { take_body(body); };
    enter(State::kHead);
  }
  auto& parser = parsing_->parser;
  error_code ec;
  const size_t used = parser.put(asio::const_buffer(bytes.data(), bytes.size()), ec);
  if (ec == beast::error::need_more) {
    needs_more = true;
    ec = {};
  }
  if (ec) {
    refuse_malformed(ec == beast::error::header_limit ? 431 : 400, "malformed request");
    return bytes.size();
  }
  if (parser.is_header_done() && !parsing_->has_begun) begin_request();
  settle();
  return used;
}

void Connection::settle() {
  if (!is_reading() || !parsing_->has_begun) return;
  if (early_ && (dropped_ > kMaxDropped || expects_word_)) {
    is_last_ = true;
    answer(std::move(*early_));
  } else if (parsing_->parser.is_done()) {
    end_request();
  }
}

// A few lines of a request in the log, once.
void Connection::record(unsigned status) {
  if (!parsing_ || !parsing_->has_begun || parsing_->is_recorded) return;
  Parsing& parsing = *parsing_;
  parsing.is_recorded = true;
  service_.finished({.method = parsing.head.method,
                     .target = parsing.target,
                     .peer = peer_,
                     .user = parsing.head.user,
                     .agent = std::string(parsing.head.field("User-Agent")),
                     .status = status,
                     .received = parsing.received,
                     .sent = parsing.sent,
                     .begun_ns = parsing.begun_wall_ns,
                     .took_ns = monotonic_ns() - parsing.begun_ns});
}

void Connection::refuse_malformed(unsigned status, std::string_view words) {
  is_last_ = true;
  answer(refuse(status, "UNSUPPORTED", words));
}

void Connection::begin_request() {
  parsing_->has_begun = true;
  auto& parser = parsing_->parser;
  parser.eager(true);
  enter(State::kBody);
  early_.reset();
  dropped_ = 0;
  const auto& message = parser.get();
  is_last_ = loop_.is_ending || !message.keep_alive();
  RequestHead& head = parsing_->head;
  head.method = std::string(message.method_string());
  is_head_ = head.method == "HEAD";
  head.peer = peer_;
  for (const auto& field : message)
    head.fields.emplace_back(std::string(field.name_string()), std::string(field.value()));
  if (const auto length = parser.content_length()) head.content_length = *length;
  head.has_body = parser.chunked() || head.content_length.value_or(0) > 0;
  const auto text = message.target();
  parsing_->target = std::string(text);
  std::optional<Target> target = parse_target(parsing_->target);
  expects_word_ = head.has_body && message.version() >= 11 && iequals(head.field("Expect"), "100-continue");
  if (target) {
    head.target = std::move(*target);
    begin_call(false);
  } else {
    early_ = refuse(400, "UNSUPPORTED", "malformed request target");
  }
}

void Connection::begin_call(bool again) {
  const RequestHead& head = parsing_->head;
  try {
    parsing_->call = service_.begin(parsing_->head);
    if (parsing_->call) {
      early_ = parsing_->call->on_begin();
    } else if (again) {
      early_ = refuse(503, "TOOMANYREQUESTS", "too many wait to be let in");
    } else {
      parsing_->is_preparing = true;
      enter(State::kWaiting);
      const bool is_begun = service_.prepare(head, [weak = weak_from_this(), &context = loop_.context] {
        asio::post(context, [weak] {
          if (const std::shared_ptr<Connection> self = weak.lock()) self->go_on_prepared();
        });
      });
      if (is_begun) return;
      parsing_->is_preparing = false;
      enter(State::kBody);
      early_ = refuse(429, "TOOMANYREQUESTS", "too many wait to be let in");
    }
  } catch (const std::exception& failure) {
    early_ = service_.failed(failure);
  }
  if (expects_word_ && !early_) {
    expects_word_ = false;
    channel_->write("HTTP/1.1 100 Continue\r\n\r\n", false);
  }
}

void Connection::go_on_prepared() {
  if (state_ != State::kWaiting || !parsing_ || !parsing_->is_preparing) return;
  parsing_->is_preparing = false;
  enter(State::kBody);
  begin_call(true);
  is_taking_ = true;
  settle();
  is_taking_ = false;
  if (is_reading()) take({});
  if (is_reading() || state_ == State::kLingering) read_more();
}

// Called by the parser, which must not be destroyed here.
void Connection::take_body(std::string_view bytes) {
  parsing_->received += bytes.size();
  if (early_) {
    dropped_ += bytes.size();
    return;
  }
  try {
    early_ = parsing_->call->on_body(bytes);
  } catch (const std::exception& failure) {
    early_ = service_.failed(failure);
  }
}

Reply Connection::reply() {
  return [weak = weak_from_this(), &context = loop_.context](Answer answer) {
    asio::dispatch(context, [weak, answer = std::move(answer)]() mutable {
      if (const std::shared_ptr<Connection> self = weak.lock(); self && self->state_ == State::kWaiting)
        self->answer(std::move(answer));
    });
  };
}

void Connection::end_request() {
  enter(State::kWaiting);
  if (early_) return answer(std::move(*early_));
  try {
    parsing_->call->on_end(reply());
  } catch (const std::exception& failure) {
    answer(service_.failed(failure));
  }
}

void Connection::answer(Answer answer) {
  if (state_ == State::kClosed) return;
  if (parsing_) parsing_->status = answer.status;
  const bool is_without_body = answer.status == 204 || answer.status == 304 || answer.status < 200;
  const uint64_t size = answer.file ? answer.file->size : answer.body.size();
  out_ = fmt::format("HTTP/1.1 {} {}\r\n", answer.status,
                     std::string(beast::obsolete_reason(static_cast<beast::status>(answer.status))));
  add_field(out_, "Date", date_now());
  add_field(out_, "Docker-Distribution-Api-Version", "registry/2.0");
  add_field(out_, "X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : answer.fields) add_field(out_, name, value);
  if (!is_without_body) add_field(out_, "Content-Length", std::to_string(size));
  if (is_last_)
    add_field(out_, "Connection", "close");
  else if (parsing_ && parsing_->parser.get().version() < 11)
    add_field(out_, "Connection", "keep-alive");
  out_ += "\r\n";
  out_at_ = 0;
  file_.reset();
  if (!is_head_ && !is_without_body) {
    if (answer.file && size > 0) file_ = std::move(answer.file);
    out_ += answer.body;
    if (parsing_) parsing_->sent = size;
  }
  early_.reset();
  enter(State::kAnswering);
  write_more();
}

void Connection::write_more() {
  size_t sent = 0;
  while (out_at_ < out_.size() || file_) {
    if (sent >= kSentInTurn) {
      asio::post(loop_.context, [self = shared_from_this()] {
        if (self->state_ == State::kAnswering && !self->is_waiting_) self->write_more();
      });
      return;
    }
    const bool is_file = out_at_ == out_.size();
    const std::optional<size_t> step = is_file ? file_step() : std::nullopt;
    if (is_file && !step) return;
    const Moved moved = is_file ? channel_->send_file(file_->file->get(), file_->offset, *step)
                                : channel_->write(std::string_view(out_).substr(out_at_),
                                                  file_.has_value() && !file_->coming);
    if (moved.state == Moved::State::kWantRead || moved.state == Moved::State::kWantWrite)
      return wait(moved.state == Moved::State::kWantWrite);
    if (moved.state != Moved::State::kSome) return close();
    sent += moved.bytes;
    window_ += moved.bytes;
    if (!is_file) {
      out_at_ += moved.bytes;
    } else {
      file_->offset += moved.bytes;
      file_->size -= moved.bytes;
      if (file_->size == 0) file_.reset();
    }
  }
  finish_answer();
}

std::optional<size_t> Connection::file_step() {
  if (!file_->coming) return std::min(file_->size, kSendStep);
  const uint64_t end = file_->offset + file_->size;
  const std::optional<uint64_t> ready = file_->coming->ready(file_->offset, end);
  if (!ready) {
    record(kCut);
    close();
    return std::nullopt;
  }
  if (*ready > 0) return std::min<uint64_t>(*ready, kSendStep);
  enter(State::kStarving);
  file_->coming->when_ready(file_->offset, end, [weak = weak_from_this(), &context = loop_.context] {
    asio::post(context, [weak] {
      if (const std::shared_ptr<Connection> self = weak.lock()) self->go_on_fed();
    });
  });
  return std::nullopt;
}

void Connection::go_on_fed() {
  if (state_ != State::kStarving) return;
  enter(State::kAnswering);
  write_more();
}

void Connection::finish_answer() {
  out_ = {};
  out_at_ = 0;
  const bool has_unread_body = parsing_ && !parsing_->parser.is_done();
  if (parsing_) record(parsing_->status);
  if (!is_taking_) parsing_.reset();
  if (is_last_ || has_unread_body) {
    channel_->end_writing();
    enter(State::kLingering);
    if (!is_taking_) read_more();
    return;
  }
  enter(State::kIdle);
  parsing_.reset();
  if (is_taking_) return;
  take({});
  if (is_reading()) read_more();
}

}  // namespace corten::registry::serving
