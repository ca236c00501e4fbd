// corten-solve-debian: which Debian packages satisfy what is wanted, by libsolv.
//
// A program of its own, since libsolv has no static form in Debian. It reads lines on standard input
//
//   architecture amd64
//   index PATH            a Packages file, uncompressed
//   assume NAME           taken for installed, in a version that satisfies every demand
//   prefer NAME           chosen where several packages provide what is asked for
//   want NAME[=VERSION]
//
// and writes `NAME VERSION ARCHITECTURE` for each chosen package, sorted. Recommended packages are not
// chosen. Exit code 1 with the reasons on standard error when there is no solution, 2 for a malformed
// question. Some of these headers say extern "C" themselves, repo_deb.h does not.
extern "C" {
#include <solv/pool.h>
#include <solv/poolarch.h>
#include <solv/repo.h>
#include <solv/repo_deb.h>
#include <solv/solver.h>
#include <solv/solverdebug.h>
}

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int kMaxRounds = 20;

struct Question {
  std::string architecture;
  std::vector<std::string> indexes, assumed, preferred, wanted;
};

bool read_question(std::istream& in, Question& q) {
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty()) continue;
    size_t blank = line.find(' ');
    if (blank == std::string::npos) return false;
    std::string key = line.substr(0, blank), value = line.substr(blank + 1);
    if (key == "architecture")
      q.architecture = value;
    else if (key == "index")
      q.indexes.push_back(value);
    else if (key == "assume")
      q.assumed.push_back(value);
    else if (key == "prefer")
      q.preferred.push_back(value);
    else if (key == "want")
      q.wanted.push_back(value);
    else
      return false;
  }
  return !q.architecture.empty() && !q.wanted.empty();
}

class Packages {
 public:
  Packages() : pool_(pool_create()) { pool_setdisttype(pool_, DISTTYPE_DEB); }
  ~Packages() { pool_free(pool_); }
  Packages(const Packages&) = delete;
  Packages& operator=(const Packages&) = delete;

  bool load(const Question& q) {
    pool_setarch(pool_, q.architecture.c_str());
    for (const std::string& path : q.indexes) {
      FILE* file = fopen(path.c_str(), "r");
      if (!file) {
        fprintf(stderr, "%s: cannot be read\n", path.c_str());
        return false;
      }
      Repo* repo = repo_create(pool_, path.c_str());
      int result = repo_add_debpackages(repo, file, 0);
      fclose(file);
      if (result != 0) {
        fprintf(stderr, "%s: %s\n", path.c_str(), pool_errstr(pool_));
        return false;
      }
    }
    assume(q.assumed);
    pool_addfileprovides(pool_);
    pool_createwhatprovides(pool_);
    return true;
  }

  int solve(const Question& q) {
    Queue jobs;
    queue_init(&jobs);
    for (const std::string& name : q.preferred)
      queue_push2(&jobs, SOLVER_FAVOR | SOLVER_SOLVABLE_NAME, pool_str2id(pool_, name.c_str(), 1));
    disfavour_stand_ins(q, jobs);
    for (const std::string& item : q.wanted)
      queue_push2(&jobs, SOLVER_INSTALL | SOLVER_SOLVABLE_NAME, wanted_id(item));
    Solver* solver = solver_create(pool_);
    solver_set_flag(solver, SOLVER_FLAG_IGNORE_RECOMMENDED, 1);
    int problems = solver_solve(solver, &jobs);
    for (int round = 0;
         problems == 0 && round < kMaxRounds && favour_first_alternatives(chosen(solver), jobs); round++)
      problems = solver_solve(solver, &jobs);
    for (int i = 1; i <= problems; i++) {
      Id rule = solver_findproblemrule(solver, i), source = 0, target = 0, dependency = 0;
      SolverRuleinfo type = solver_ruleinfo(solver, rule, &source, &target, &dependency);
      fprintf(stderr, "%s\n", solver_problemruleinfo2str(solver, type, source, target, dependency));
    }
    if (problems == 0) print(chosen(solver));
    solver_free(solver);
    queue_free(&jobs);
    return problems == 0 ? 0 : 1;
  }

 private:
  // The assumed packages are an installed repository of its own; none of them can be printed.
  void assume(const std::vector<std::string>& names) {
    Repo* repo = repo_create(pool_, "assumed");
    Id version = pool_str2id(pool_, "9999:0", 1);
    for (const std::string& name : names) {
      Solvable* s = pool_id2solvable(pool_, repo_add_solvable(repo));
      s->name = pool_str2id(pool_, name.c_str(), 1);
      s->evr = version;
      s->arch = pool_str2id(pool_, "all", 1);
      s->provides = repo_addid_dep(repo, s->provides, pool_rel2id(pool_, s->name, s->evr, REL_EQ, 1), 0);
    }
    pool_set_installed(pool_, repo);
  }

  // As apt does: where a package of the very name that is asked for exists, others that provide it
  // (libelogind0 for libsystemd0) come last.
  void disfavour_stand_ins(const Question& q, Queue& jobs) {
    std::set<Id> names, preferred;
    for (const std::string& name : q.preferred) preferred.insert(pool_str2id(pool_, name.c_str(), 1));
    for (Id id = 2; id < pool_->nsolvables; id++)
      if (pool_->solvables[id].repo && pool_->solvables[id].repo != pool_->installed)
        names.insert(pool_->solvables[id].name);
    for (Id id = 2; id < pool_->nsolvables; id++) {
      Solvable* s = pool_id2solvable(pool_, id);
      if (!s->repo || s->repo == pool_->installed || !s->provides || preferred.count(s->name)) continue;
      for (Id* at = s->repo->idarraydata + s->provides; *at; at++) {
        Id name = *at;
        while (ISRELDEP(name)) name = GETRELDEP(pool_, name)->name;
        if (name == s->name || !names.count(name)) continue;
        queue_push2(&jobs, SOLVER_DISFAVOR | SOLVER_SOLVABLE, id);
        break;
      }
    }
  }

  Id wanted_id(const std::string& item) {
    size_t equals = item.find('=');
    Id name = pool_str2id(pool_, item.substr(0, equals).c_str(), 1);
    if (equals == std::string::npos) return name;
    return pool_rel2id(pool_, name, pool_str2id(pool_, item.substr(equals + 1).c_str(), 1), REL_EQ, 1);
  }

  // libsolv takes the alternatives of "a | b" for equals; apt takes the first that exists. Where the solution
  // took a later one although nothing else called for it, the first is favoured in the next round. False when
  // there was no such place.
  bool favour_first_alternatives(const std::set<Id>& chosen, Queue& jobs) {
    bool is_changed = false;
    for (Id id : chosen) {
      Solvable* s = pool_id2solvable(pool_, id);
      if (!s->requires) continue;
      for (Id* at = s->repo->idarraydata + s->requires; *at; at++) {
        Id first = first_alternative(*at);
        if (first == 0 || favoured_.count(first) || is_met(first, chosen)) continue;
        favoured_.insert(first);
        queue_push2(&jobs, SOLVER_FAVOR | SOLVER_SOLVABLE_PROVIDES, first);
        is_changed = true;
      }
    }
    return is_changed;
  }

  // Of a dependency with alternatives the first that any package provides; 0 where there are none to choose
  // from.
  Id first_alternative(Id dependency) {
    Reldep* relation = ISRELDEP(dependency) ? GETRELDEP(pool_, dependency) : nullptr;
    if (!relation || relation->flags != REL_OR) return 0;
    for (Id part : {relation->name, relation->evr}) {
      Id inner = first_alternative(part);
      if (inner == 0 && pool_whatprovides_ptr(pool_, part)[0] != 0) inner = part;
      if (inner != 0) return inner;
    }
    return 0;
  }

  bool is_met(Id dependency, const std::set<Id>& chosen) {
    for (Id* p = pool_whatprovides_ptr(pool_, dependency); *p; p++)
      if (chosen.count(*p) || pool_id2solvable(pool_, *p)->repo == pool_->installed) return true;
    return false;
  }

  std::set<Id> chosen(Solver* solver) {
    Queue decisions;
    queue_init(&decisions);
    solver_get_decisionqueue(solver, &decisions);
    std::set<Id> ids;
    for (int i = 0; i < decisions.count; i++) {
      Id id = decisions.elements[i];
      if (id > 0 && id != SYSTEMSOLVABLE && pool_id2solvable(pool_, id)->repo != pool_->installed)
        ids.insert(id);
    }
    queue_free(&decisions);
    return ids;
  }

  void print(const std::set<Id>& ids) {
    std::vector<std::string> lines;
    for (Id id : ids) {
      Solvable* s = pool_id2solvable(pool_, id);
      lines.push_back(std::string(pool_id2str(pool_, s->name)) + " " + pool_id2str(pool_, s->evr) + " " +
                      pool_id2str(pool_, s->arch));
    }
    std::sort(lines.begin(), lines.end());
    for (const std::string& line : lines) printf("%s\n", line.c_str());
  }

  std::set<Id> favoured_;
  Pool* pool_;
};

}  // namespace

int main() {
  Question question;
  if (!read_question(std::cin, question)) {
    fprintf(stderr, "malformed question\n");
    return 2;
  }
  Packages packages;
  if (!packages.load(question)) return 2;
  int result = packages.solve(question);
  return fflush(stdout) == 0 ? result : 2;
}
