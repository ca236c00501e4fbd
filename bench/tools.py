"""The builders that are measured, each behind the same four calls: fresh, build, tree, close."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time


class Sample:
    """One build: seconds by the clock, peak memory of the builder in bytes, bytes that it caused to be written."""

    def __init__(self, seconds, peak, written):
        self.seconds, self.peak, self.written = seconds, peak, written
        self.note = ""


def written_by(pid):
    """Bytes that a process and its children that are gone sent towards a disk (/proc/PID/io, write_bytes)."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(dict(line.split(": ") for line in file)["write_bytes"])


def high_water(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def run_measured(command, env, cwd):
    """Runs a command under a small process of its own, which counts for it."""
    read_end, write_end = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        log = os.open(cwd + "/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        done = subprocess.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        import resource
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        os.write(write_end, json.dumps([done.returncode, peak, written_by("self")]).encode())
        os._exit(0)
    os.close(write_end)
    answer = b""
    while part := os.read(read_end, 4096):
        answer += part
    seconds = time.monotonic() - began
    os.close(read_end)
    os.waitpid(child, 0)
    code, peak, written = json.loads(answer)
    if code != 0:
        with open(cwd + "/log", encoding="utf-8", errors="replace") as file:
            raise SystemExit(f"{' '.join(command)}: exit code {code}\n{file.read()[-4000:]}")
    return Sample(seconds, peak, written)


def tree_of_tar(path):
    """Digest of all that a file system tar says except times; mount points that builders leave behind do not count."""
    ignored = {"proc", "sys", "dev", "run", "etc", "etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv"}
    lines = []
    with tarfile.open(path, errorlevel=2) as tar:
        for member in tar:
            name = member.name.removeprefix("./").strip("/")
            if not name or name == "." or name in ignored:
                continue
            content = ""
            if member.isreg():
                hash = hashlib.sha256()
                file = tar.extractfile(member)
                while block := file.read(1 << 20):
                    hash.update(block)
                content = hash.hexdigest()
            lines.append(f"{name} {member.type!r} {member.mode:o} {member.uid} {member.gid} {member.linkname} {content}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


class Tool:
    """A builder with a place of its own below `place`."""

    def __init__(self, place):
        self.place = place
        self.old = 0
        os.makedirs(place, exist_ok=True)
        self.env = dict(os.environ, NO_COLOR="1")

    def measured(self, command):
        return run_measured(command, self.env, self.place)

    def file_of_tree(self, name):
        """A file's text, of the tree that was made last."""
        with tarfile.open(self.place + "/tree.tar") as tar:
            return tar.extractfile(next(m for m in tar if m.name.removeprefix("./").strip("/") == name)).read().decode().strip()

    def set_aside(self, name):
        """Out of the way, not away: ext4 gives no inode again that was freed within the last minutes, and looks at each of
        them anew for every file that is made. Who removes 200,000 files and measures then, measures that."""
        self.old += 1
        os.makedirs(self.place + "/old", exist_ok=True)
        os.rename(f"{self.place}/{name}", f"{self.place}/old/{self.old}")

    def close(self):
        shutil.rmtree(self.place, ignore_errors=True)


class Corten(Tool):
    name = "Corten"

    def __init__(self, place, binary):
        super().__init__(place)
        self.binary = binary
        self.env["CORTEN_STORE"] = place + "/store"

    def version(self):
        return subprocess.run([self.binary, "version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]

    def command(self, context, args, output):
        command = [self.binary, "build", "--progress", "plain", "-t", "bench"]
        for name, value in args.items():
            command += ["--build-arg", f"{name}={value}"]
        if output:
            command += ["-o", output]
        return command + [context]

    def fresh(self):
        if os.path.exists(self.place + "/store"):
            self.set_aside("store")

    def build(self, context, args=(), archive=False):
        output = f"type=oci,dest={self.place}/image.tar" if archive else ""
        return self.measured(self.command(context, dict(args), output))

    def start(self, context, args):
        return subprocess.Popen(self.command(context, dict(args), ""), env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tree(self, context, args=()):
        self.measured(self.command(context, dict(args), f"type=tar,dest={self.place}/tree.tar"))
        return tree_of_tar(self.place + "/tree.tar")

class BuildKit(Tool):
    name = "BuildKit"

    def __init__(self, place, directory):
        super().__init__(place)
        self.daemon_binary, self.client = directory + "/buildkitd", directory + "/buildctl"
        self.address = f"unix://{place}/socket"
        self.daemon = None
        self.start_daemon()

    def version(self):
        words = subprocess.run([self.daemon_binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
        return f"buildkitd {words[2]}" if len(words) > 2 else " ".join(words)

    def start_daemon(self):
        log = open(self.place + "/daemon.log", "ab")
        self.daemon = subprocess.Popen(
            [self.daemon_binary, "--root", self.place + "/root", "--addr", self.address, "--oci-worker=true",
             "--containerd-worker=false", "--oci-worker-snapshotter", "overlayfs"], stdout=log, stderr=log)
        log.close()
        for _ in range(300):
            if subprocess.run([self.client, "--addr", self.address, "debug", "workers"], capture_output=True,
                              check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit("buildkitd does not answer; see " + self.place + "/daemon.log")

    def stop_daemon(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait()

    def fresh(self):
        self.stop_daemon()
        self.set_aside("root")
        self.start_daemon()

    def command(self, context, args, output):
        command = [self.client, "--addr", self.address, "build", "--progress", "plain", "--frontend", "dockerfile.v0",
                   "--local", "context=" + context, "--local", "dockerfile=" + context, "--output", output]
        for name, value in args.items():
            command += ["--opt", f"build-arg:{name}={value}"]
        return command

    IMAGE = "type=image,name=docker.io/library/bench:latest"

    def build(self, context, args=(), archive=False):
        output = f"type=oci,dest={self.place}/image.tar" if archive else self.IMAGE
        before = written_by(self.daemon.pid)
        with open(f"/proc/{self.daemon.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        sample = self.measured(self.command(context, dict(args), output))
        sample.peak += high_water(self.daemon.pid)
        sample.written += written_by(self.daemon.pid) - before
        return sample

    def start(self, context, args):
        return subprocess.Popen(self.command(context, dict(args), self.IMAGE), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tree(self, context, args=()):
        self.measured(self.command(context, dict(args), f"type=tar,dest={self.place}/tree.tar"))
        return tree_of_tar(self.place + "/tree.tar")

    def close(self):
        self.stop_daemon()
        super().close()


class Buildah(Tool):
    name = "buildah"

    def __init__(self, place):
        super().__init__(place)
        self.storage = ["buildah", "--root", place + "/root", "--runroot", place + "/run", "--storage-driver", "overlay"]

    def version(self):
        words = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True).stdout.split()
        return "buildah " + words[2]

    def fresh(self):
        if not os.path.exists(self.place + "/root"):
            return
        # It leaves its directory of overlays mounted on itself.
        subprocess.run(["umount", "--lazy", self.place + "/root/overlay"], capture_output=True, check=False)
        self.set_aside("root")

    def command(self, context, args):
        command = self.storage + ["bud", "--layers", "--isolation", "chroot", "--jobs", "4", "-t", "bench"]
        for name, value in args.items():
            command += ["--build-arg", f"{name}={value}"]
        return command + [context]

    def build(self, context, args=(), archive=False):
        command = self.command(context, dict(args))
        if archive:
            push = self.storage + ["push", "bench", f"oci-archive:{self.place}/image.tar"]
            command = ["sh", "-c", '"$@" && rm -f "$ARCHIVE" && eval "$PUSH"', "sh"] + command
            self.env["PUSH"], self.env["ARCHIVE"] = " ".join(push), self.place + "/image.tar"
        return self.measured(command)

    def start(self, context, args):
        return subprocess.Popen(self.command(context, dict(args)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def tree(self, context, args=()):
        # Not --output: of a cached build it leaves out what the last RUN made.
        self.measured(self.command(context, dict(args)))

        def buildah(*command):
            return subprocess.run(self.storage + list(command), capture_output=True, text=True, check=True).stdout.strip()
        container = buildah("from", "bench")
        subprocess.run(["tar", "-C", buildah("mount", container), "-cf", self.place + "/tree.tar", "."], check=True)
        buildah("rm", container)
        return tree_of_tar(self.place + "/tree.tar")

    def close(self):
        self.fresh()
        super().close()
