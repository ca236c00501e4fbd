// Credentials that a program of the user's gives: credential_process of a profile.
//
// Source: AWS SDKs and Tools Reference Guide, "Process credential provider"; botocore credentials.py,
// ProcessProvider. The command is cut into words as the AWS CLI does it and is started without a shell: no
// variable, no ~, no pipe. It writes {"Version": 1, "AccessKeyId", "SecretAccessKey", "SessionToken",
// "Expiration"}; what it writes is never shown. It has a minute, as in Amazon's SDK for Go, gets no input,
// and its last word on standard error is shown when it fails, without what looks like a key.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace corten::registry::cloud {

// The words of a POSIX shell's command, quotes and backslashes resolved (Python's shlex.split).
// Error(kInvalid) for a quote that is not closed; the text is not shown.
std::vector<std::string> split_command(std::string_view text);

// One line of what a program said, for people: bounded, printable, words that may be keys as "***".
std::string without_keys(std::string_view text);

}  // namespace corten::registry::cloud
