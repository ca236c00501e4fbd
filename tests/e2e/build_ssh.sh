# RUN --mount=type=ssh: the user's agent, keys from files, and git over ssh with them.
. "$(dirname "$0")/lib.sh"
base bb ssh-add
mkdir ctx keys
ssh-keygen -q -t ed25519 -N '' -C 'first key' -f keys/first
ssh-keygen -q -t rsa -b 2048 -N '' -C 'second key' -f keys/second
cp keys/first.pub ctx/
unset SSH_AUTH_SOCK SSH_AGENT_PID || true
refused() {
  said=$("$CORTEN" build --progress plain --build-context base=bb "$@" 2>&1) && fail "build $* should fail"
  return 0
}

cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
COPY first.pub /first.pub
RUN --mount=type=ssh,required=true ssh-add -l >/list && ssh-add -T /first.pub && echo "$SSH_AUTH_SOCK" >/where
RUN --mount=type=ssh,id=other,target=/agent,mode=0660,uid=7,gid=8 stat -c '%a %u %g' /agent >/attributes && SSH_AUTH_SOCK=/agent ssh-add -l >/others
RUN --mount=type=ssh ssh-add -D 2>&1 && touch /removed || true
RUN ls /run/buildkit /agent >/after 2>&1 || true
DOCKERFILE
build ctx --build-context base=bb --ssh default=keys/first --ssh other=keys/second,keys/first -o type=tar,dest=out.tar -t agents
holds "$(tar -xOf out.tar list)" "first key"
lacks "$(tar -xOf out.tar list)" "second key"
equal "$(tar -xOf out.tar where)" /run/buildkit/ssh_agent.0 SSH_AUTH_SOCK
equal "$(tar -xOf out.tar attributes)" "660 7 8" "mode, uid and gid"
holds "$(tar -xOf out.tar others)" "second key"
lacks "$(tar -tf out.tar)" removed
lacks "$(tar -tf out.tar)" run/buildkit
if tar -tf out.tar | grep -qx agent; then fail "the mount point stays"; fi
lacks "$(cat log) $("$CORTEN" history agents)" "PRIVATE"
if find "$CORTEN_STORE" -type s | grep -q .; then fail "a socket stays"; fi
# Who has the key is no part of the step.
build ctx --build-context base=bb --ssh default=keys/second --ssh other=keys/second
holds "$(tail -n 1 log)" "cached"

# The user's agent, forwarded.
eval "$(ssh-agent -s)" >/dev/null
agent=$SSH_AGENT_PID
stop_agent() { kill "$agent" 2>/dev/null || true; }
trap 'stop_agent; cleanup' EXIT
ssh-add -q keys/first
build ctx --build-context base=bb --no-cache --ssh default --ssh "other=$SSH_AUTH_SOCK" -o type=tar,dest=out.tar
holds "$(tar -xOf out.tar list)" "first key"
equal "$(ssh-add -l | wc -l)" 1 "a step removed the user's keys"

# Errors: missing, locked, not there.
printf 'FROM base\nRUN --mount=type=ssh,required=true,id=deploy true\n' >ctx/Dockerfile
refused ctx --ssh default
holds "$said" 'no SSH key "deploy" forwarded from the client'
holds "$said" "Dockerfile:2"
holds "$said" "--ssh deploy"
printf 'FROM base\nRUN --mount=type=ssh,id=deploy test ! -e /run/buildkit\n' >ctx/Dockerfile
build ctx --build-context base=bb --ssh default
ssh-keygen -q -t ed25519 -N passphrase -f keys/locked
refused ctx --ssh default=keys/locked
holds "$said" "has a passphrase"
refused ctx --ssh default=keys/none
holds "$said" "keys/none: no such file"
refused ctx --ssh "default=keys/first,$SSH_AUTH_SOCK"
holds "$said" "invalid combination of keys and sockets"
refused ctx --ssh default --ssh default
holds "$said" "duplicate agent ID"
(unset SSH_AUTH_SOCK; refused ctx --ssh default; holds "$said" "make sure SSH_AUTH_SOCK is set")

# git over ssh: a client that shows what it was given and runs the server's side here.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git init -q -b main repo
printf 'FROM base\nCOPY file /\n' >repo/Dockerfile
echo by-ssh >repo/file
git -C repo add -A
git -C repo -c user.name=t -c user.email=t@example.invalid commit -qm one
mkdir path
cat >path/ssh <<SSH
#!/bin/sh
printf '%s\n' "\$*" >>"$T/ssh.log"
ssh-add -l >>"$T/ssh.log" 2>&1
for last; do :; done
exec sh -c "\$(echo "\$last" | sed "s|/repo|$T/repo|")"
SSH
chmod 755 path/ssh
PATH="$T/path:$PATH"
"$CORTEN" build -q --build-context base=bb --ssh default=keys/second -o one git@host.invalid:/repo >/dev/null
equal "$(cat one/file)" by-ssh "git@host:path"
holds "$(cat ssh.log)" "second key"
holds "$(cat ssh.log)" "-F /dev/null"
holds "$(cat ssh.log)" "StrictHostKeyChecking=accept-new"
: >ssh.log
"$CORTEN" build -q --build-context base=bb -o two 'ssh://git@host.invalid/repo#main' >/dev/null
holds "$(cat ssh.log)" "first key"
: >ssh.log
printf 'FROM base\nADD git@host.invalid:/repo#main /added\n' >Dockerfile
"$CORTEN" build -q --build-context base=bb -o three - <Dockerfile >/dev/null
equal "$(cat three/added/file)" by-ssh "ADD by ssh"
lacks "$(cat ssh.log)" "first key"
rm -rf path
