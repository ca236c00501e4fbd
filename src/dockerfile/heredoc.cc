#include "dockerfile/heredoc.h"

#include <algorithm>

#include "dockerfile/expand.h"
#include "dockerfile/runes.h"

namespace corten::dockerfile {

std::optional<Heredoc> parse_heredoc_mark(std::string_view word) {
  size_t digits = 0;
  while (digits < word.size() && word[digits] >= '0' && word[digits] <= '9') digits++;
  std::string_view rest = word.substr(digits);
  if (rest.substr(0, 2) != "<<") return std::nullopt;
  rest.remove_prefix(2);
  Heredoc heredoc;
  if (!rest.empty() && rest[0] == '-') {
    heredoc.chomp = true;
    rest.remove_prefix(1);
  }
  rest = trim_left_space(rest);
  if (rest.empty() || rest.find('<') != std::string_view::npos) return std::nullopt;
  for (char digit : word.substr(0, std::min<size_t>(digits, 9)))
    heredoc.descriptor = heredoc.descriptor * 10 + (digit - '0');

  MapEnvironment nothing;
  auto words = process_words(rest, nothing, {.keep_unset = true});
  if (words.size() != 1) return std::nullopt;
  auto raw = process_words(rest, nothing, {.keep_quotes = true, .keep_unset = true});
  auto quotes_in = [](const std::vector<std::string>& list) {
    size_t count = 0;
    for (const std::string& text : list)
      count += std::count_if(text.begin(), text.end(), [](char c) { return c == '\'' || c == '"'; });
    return count;
  };
  heredoc.name = words[0];
  heredoc.expand = quotes_in(words) == quotes_in(raw);
  return heredoc;
}

std::vector<Heredoc> find_heredoc_marks(std::string_view line) {
  std::vector<std::string> words;
  try {
    words = process_words(line, MapEnvironment(),
                          {.keep_quotes = true, .keep_escapes = true, .keep_unset = true});
  } catch (const Error&) {
    return {};  // the shell may well make sense of it
  }
  std::vector<Heredoc> marks;
  for (const std::string& word : words)
    if (auto mark = parse_heredoc_mark(word)) marks.push_back(std::move(*mark));
  return marks;
}

}  // namespace corten::dockerfile
