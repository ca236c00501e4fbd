#pragma once
#include "pch.h"
#include <gtest/gtest.h>
