// corten: the commands.
#include "cli/app.h"
#include "cli/commands.h"

using namespace corten::cli;

int main(int argc, char** argv) {
  static const std::vector<Command> kCommands = {
      {"build", "build an image from a Dockerfile", command_build, "Images"},
      {"why", "say why a step was cached or not", command_why, "Images"},
      {"builds", "list and show builds, their logs", command_builds, "Images"},
      {"lint", "look for mistakes in Dockerfiles", command_lint, "Images"},
      {"base", "make a base image from Debian packages", command_base, "Images"},
      {"images", "list images", command_images, "Images"},
      {"inspect", "show what an image or a container is", command_inspect, "Images"},
      {"history", "show an image's layers with their sizes", command_history, "Images"},
      {"tag", "give an image another name", command_tag, "Images"},
      {"rmi", "remove images", command_rmi, "Images"},
      {"load", "bring in an image from an archive or a layout", command_load, "Images"},
      {"save", "write images to an archive", command_save, "Images"},
      {"pull", "bring images from a registry into the store", command_pull, "Registries"},
      {"push", "send an image of the store to a registry", command_push, "Registries"},
      {"copy", "copy images between registries, layouts, archives and the store", command_copy, "Registries"},
      {"tags", "list the tags of a repository", command_tags, "Registries"},
      {"referrers", "list what refers to an image", command_referrers, "Registries"},
      {"manifest", "print what a name means in a registry", command_manifest, "Registries"},
      {"imagetools", "look at manifests in a registry, put them together", command_imagetools, "Registries"},
      {"delete", "delete tags and manifests in a registry", command_delete, "Registries"},
      {"login", "log in to a registry", command_login, "Registries"},
      {"logout", "forget what login kept", command_logout, "Registries"},
      {"registry", "clean a registry without destroying what is needed", command_registry, "Registries"},
      {"acr", "login, import, builds and retention in Azure's registry", command_acr, "Registries"},
      {"ecr", "repositories, scans and identity in Amazon ECR", command_ecr, "Registries"},
      {"serve", "serve a registry", command_serve, "Registries"},
      {"run", "run a command in a new container", command_run, "Containers"},
      {"exec", "run a command in a running container", command_exec, "Containers"},
      {"ps", "list containers", command_ps, "Containers"},
      {"logs", "show what a container wrote", command_logs, "Containers"},
      {"stop", "stop containers", command_stop, "Containers"},
      {"kill", "send a signal to containers", command_kill, "Containers"},
      {"rm", "remove containers", command_rm, "Containers"},
      {"wait", "wait until containers end, or are healthy", command_wait, "Containers"},
      {"port", "show the forwarded ports of a container", command_port, "Containers"},
      {"cache", "list, show and remove what is remembered", command_cache, "The store and this machine"},
      {"prune", "remove what nothing needs", command_prune, "The store and this machine"},
      {"du", "show what the store takes", command_du, "The store and this machine"},
      {"fsck", "read the whole store again and compare", command_fsck, "The store and this machine"},
      {"doctor", "try what this machine gives, and say how to climb", command_doctor,
       "The store and this machine"},
      {"version", "print the version", command_version, "The store and this machine"},
      {"buildx", "docker buildx's spelling of the same commands", command_buildx, "For scripts"},
      {"builder", "docker builder's spelling", command_buildx, ""},
  };
  return run_app(kCommands, {argv + 1, argv + argc});
}
