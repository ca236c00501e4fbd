// A plan of ours as BuildKit's Dockerfile frontend would have it: each step as one or more operations.
//
// Everything that decides the text of an operation is taken from the plan. What the plan does not hold in the
// way BuildKit says it, or what BuildKit does in another way, is unknown, and then found in no cache:
// addresses, ssh, owners of mounts that are no caches, options of the whole build that
// are in BuildKit's text and are lists in an order of their own (hosts, limits). A build with
// SOURCE_DATE_EPOCH has nothing of BuildKit's: its layers have the times of when they were made.
// Source: BuildKit v0.32.2, frontend/dockerfile/dockerfile2llb, as measured.
#pragma once
#include <map>
#include <vector>

#include "build/plan.h"
#include "cache/buildkit_graph.h"

namespace corten::cache {

struct BuildkitPlan {
  struct Operations {
    BuildkitNodeId result = kNoBuildkitNode;
    // Of a link: the operation that makes its files, on nothing.
    BuildkitNodeId link = kNoBuildkitNode;
  };
  BuildkitGraph graph;
  std::vector<Operations> steps;                   // by step id
  std::map<BuildkitNodeId, build::TreeRef> files;  // of steps and contexts
};

BuildkitPlan buildkit_plan(const build::Plan& plan, const build::Request& request);

}  // namespace corten::cache
