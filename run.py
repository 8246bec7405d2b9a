"""From a clone to a running Cardume, with nothing but Python 3.11 and git.

    python3 run.py [--port N…]  the demo: server, sample aquarium, simulated devices
    python3 run.py test [...]   the whole test suite (arguments go to pytest)
    python3 run.py bench        Cardume beside other servers, in one run
    python3 run.py bench NAME   a measurement of bench/: fanout, handshake, idle, latency, ingest...
    python3 run.py simulate     a long campaign of the delivery promises (--seeds N --from SEED)
    python3 run.py autobahn     Autobahn's test suite against our WebSockets (needs a CPython 2.7)
    python3 run.py ARGS...      cardume ARGS...

It makes .venv, installs the locked requirements there (with uv if it is on the PATH, pip
otherwise) and remembers that it did. Standard library only, and written so that an old Python
can still read it far enough to say that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, ".venv")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")
NEEDS = (3, 11)


def main(arguments):
    if sys.version_info < NEEDS:
        stop(
            "Cardume needs Python %d.%d or newer and this is %d.%d: install one, then run it with "
            "that, for example: python%d.%d run.py" % (NEEDS + sys.version_info[:2] + NEEDS)
        )
    own = arguments[:1] in (["test"], ["bench"], ["simulate"], ["autobahn"])
    prepare("dev" if own else "server")
    if arguments[:1] == ["test"]:
        # A file stays with one worker, for its tests share a server. Two workers a core, for half
        # of their time they wait: 5:51 became 3:35 on two cores.
        workers = str(2 * (os.cpu_count() or 1))
        run([PYTHON, "-m", "pytest", "-n", workers, "--dist", "loadfile"] + arguments[1:])
    elif arguments[:1] == ["bench"]:
        run(bench(arguments[1:]))
    elif arguments[:1] == ["simulate"]:
        run([PYTHON, "-m", "tests.simulation"] + arguments[1:])
    elif arguments[:1] == ["autobahn"]:
        run([PYTHON, "-m", "tests.autobahn"] + arguments[1:])
    else:
        # The user's own folder stays the current one: that is where the database belongs.
        run([PYTHON, "-m", "cardume"] + command(arguments), folder=os.getcwd())


def command(arguments):
    """Options alone are those of the demo, but for the ones that cardume itself has."""
    own = ("-h", "--help", "--version", "--install-completion", "--show-completion")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in own):
        return ["demo"] + arguments
    return arguments


def bench(arguments):
    """The command of a measurement; what is no file of bench/ is a mode of the ingest."""
    if not arguments or arguments[0].startswith("-"):
        return [PYTHON, os.path.join("bench", "everything.py")] + arguments
    script = os.path.join("bench", arguments[0] + ".py")
    if os.path.exists(os.path.join(HERE, script)):
        return [PYTHON, script] + arguments[1:]
    return [PYTHON, os.path.join("bench", "ingest.py")] + arguments


def prepare(lock):
    """Make .venv hold what `lock` lists; does nothing if it did so before."""
    requirements = os.path.join(HERE, "requirements", lock + ".txt")
    wanted = fingerprint(requirements)
    stamp = os.path.join(VENV, "cardume-" + lock)
    if os.path.exists(PYTHON) and read(stamp) == wanted:
        return
    uv = shutil.which("uv")
    say("installing what %s.txt lists into .venv (once)" % lock)
    if not os.path.exists(PYTHON):
        make_venv(uv)
    pip = [uv, "pip", "install", "--quiet", "--python", PYTHON] if uv else pip_command()
    install(pip + ["--require-hashes", "-r", requirements])
    install(pip + ["--no-deps", "--no-build-isolation", "-e", HERE])
    with open(stamp, "w") as file:
        file.write(wanted)


def make_venv(uv):
    # What is left of one whose Python is gone is in the way of a new one.
    shutil.rmtree(VENV, ignore_errors=True)
    if uv:
        install([uv, "venv", "--quiet", "--python", sys.executable, VENV])
        return
    made = subprocess.run(
        [sys.executable, "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        stop(why_no_venv(made.stdout.decode("utf-8", "replace")))


def why_no_venv(said):
    if "ensurepip" in said or "No module named venv" in said:
        return (
            "this Python cannot make a virtual environment; on Debian and Ubuntu: "
            "sudo apt install python%d.%d-venv (or install uv)" % sys.version_info[:2]
        )
    return "cannot make .venv here: " + (said.strip().splitlines() or ["no reason given"])[-1]


def pip_command():
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if subprocess.run([PYTHON, "-m", "pip", "--version"], stdout=subprocess.PIPE).returncode:
        stop(".venv has no pip and uv is not on the PATH: remove .venv, then run this again")
    return [PYTHON, "-m", "pip", "install"] + quiet


def install(command):
    if subprocess.run(command, cwd=HERE).returncode:
        stop("the installation failed (see above): is the network there? Then run this again")


def fingerprint(requirements):
    """What the environment depends on: the lock, the project's own metadata, what is compiled,
    this Python."""
    digest = hashlib.sha256(sys.version.encode())
    compiled = os.path.join("src", "cardume", "hub", "_sockets.c")
    ours = [os.path.join(HERE, name) for name in ("pyproject.toml", "setup.py", compiled)]
    for path in [requirements] + ours:
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def run(command, folder=HERE):
    if os.name == "nt":
        sys.exit(subprocess.run(command, cwd=folder).returncode)
    os.chdir(folder)
    os.execv(command[0], command)


def say(text):
    sys.stderr.write("run.py: " + text + "\n")
    sys.stderr.flush()


def stop(text):
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        stop("stopped; run it again to go on")
