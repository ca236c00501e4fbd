#!/bin/sh
# Makes the ordinary user that the tests labelled `user` run as, with a range of subordinate ids; harmless when repeated.
# Prints the user's name. Needs root.
set -eu
name=corten-test
id "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/sh "$name"
grep -q "^$name:" /etc/subuid 2>/dev/null || usermod --add-subuids 524288-589823 "$name"
grep -q "^$name:" /etc/subgid 2>/dev/null || usermod --add-subgids 524288-589823 "$name"
echo "$name"
