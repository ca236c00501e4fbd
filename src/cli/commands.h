// One function a command; each lies in command_*.cc. They throw Error.
#pragma once
#include "cli/app.h"

namespace corten::cli {

int command_base(const Arguments& arguments);
int command_build(const Arguments& arguments);
int command_builds(const Arguments& arguments);
int command_why(const Arguments& arguments);
int command_lint(const Arguments& arguments);
int command_buildx(const Arguments& arguments);
int command_registry(const Arguments& arguments);
int command_acr(const Arguments& arguments);
int command_ecr(const Arguments& arguments);
int command_images(const Arguments& arguments);
int command_inspect(const Arguments& arguments);
int command_history(const Arguments& arguments);
int command_run(const Arguments& arguments);
int command_exec(const Arguments& arguments);
int command_ps(const Arguments& arguments);
int command_logs(const Arguments& arguments);
int command_stop(const Arguments& arguments);
int command_kill(const Arguments& arguments);
int command_rm(const Arguments& arguments);
int command_wait(const Arguments& arguments);
int command_port(const Arguments& arguments);
int command_tag(const Arguments& arguments);
int command_rmi(const Arguments& arguments);
int command_load(const Arguments& arguments);
int command_save(const Arguments& arguments);
int command_pull(const Arguments& arguments);
int command_push(const Arguments& arguments);
int command_copy(const Arguments& arguments);
int command_tags(const Arguments& arguments);
int command_delete(const Arguments& arguments);
int command_referrers(const Arguments& arguments);
int command_manifest(const Arguments& arguments);
int command_imagetools(const Arguments& arguments);
int command_login(const Arguments& arguments);
int command_logout(const Arguments& arguments);
int command_serve(const Arguments& arguments);
int command_cache(const Arguments& arguments);
int command_prune(const Arguments& arguments);
int command_fsck(const Arguments& arguments);
int command_du(const Arguments& arguments);
int command_doctor(const Arguments& arguments);
int command_version(const Arguments& arguments);

}  // namespace corten::cli
