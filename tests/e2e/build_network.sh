# --network=none has a loopback and nothing else; names of hosts reach a step and never a layer.
. "$(dirname "$0")/lib.sh"
base bb
mkdir ctx
cat >ctx/Dockerfile <<'DOCKERFILE'
FROM base
RUN --network=none ls /sys/class/net >/links && ip -o link | wc -l >/count
RUN grep -q extra.example /etc/hosts && hostname >/name
RUN echo nothing
DOCKERFILE
build ctx --build-context base=bb --add-host extra.example:10.0.0.1 -o type=tar,dest=files.tar
equal "$(tar -xOf files.tar count)" 1 "links without a network"
equal "$(tar -xOf files.tar name)" buildkitsandbox "host name"
if tar -tf files.tar | grep -qE '^etc/(hosts|resolv.conf)$'; then fail "hosts or resolv.conf are in the image"; fi
