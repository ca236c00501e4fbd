// corten: the commands.
#include "cli/app.h"
#include "cli/commands.h"

using namespace corten::cli;

int main(int argc, char** argv) {
  static const std::vector<Command> kCommands = {
      {"build", "build an image from a Dockerfile", command_build, "Images"},
      {"base", "make a base image from Debian packages", command_base, "Images"},
      {"images", "list images", command_images, "Images"},
      {"inspect", "show what an image is", command_inspect, "Images"},
      {"history", "show an image's layers with their sizes", command_history, "Images"},
      {"tag", "give an image another name", command_tag, "Images"},
      {"rmi", "remove images", command_rmi, "Images"},
      {"load", "bring in an image from an archive or a layout", command_load, "Images"},
      {"save", "write images to an archive", command_save, "Images"},
      {"prune", "remove what nothing needs", command_prune, "The store and this machine"},
      {"du", "show what the store takes", command_du, "The store and this machine"},
      {"fsck", "read the whole store again and compare", command_fsck, "The store and this machine"},
      {"doctor", "try what this machine gives, and say how to climb", command_doctor, "The store and this machine"},
      {"version", "print the version", command_version, "The store and this machine"},
      {"buildx", "docker buildx's spelling of the same commands", command_buildx, "For scripts"},
  };
  return run_app(kCommands, {argv + 1, argv + argc});
}
