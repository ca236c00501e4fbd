# Sourced after lib.sh: starts server.py on $T/www; sets URL. The server ends when the test's descriptor 9 is closed, whatever
# becomes of the test.
mkdir -p "$T/www/files" "$T/www/git"
mkfifo "$T/serve.in" "$T/serve.out"
python3 "$(dirname "$0")/server.py" "$T/www" "$T/requests" <"$T/serve.in" >"$T/serve.out" 9>&- &
exec 9>"$T/serve.in"
read -r port <"$T/serve.out"
URL="http${TLS_CERT:+s}://127.0.0.1:$port"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY || true
requests() { if [ -f "$T/requests" ]; then wc -l <"$T/requests"; else echo 0; fi; }
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
git_in() { # DIRECTORY ARGUMENTS...
  where=$1
  shift
  git -C "$where" -c user.name=t -c user.email=t@example.invalid -c protocol.file.allow=always "$@"
}
