# The whole line with whatever `pearrt` is on PATH: a key, an app, a bundle, a signed release, a run inside the
# sandbox. POSIX sh; $1 is an empty folder.
set -e
export PEARRT_LISTEN=127.0.0.1:0 PEARRT_MDNS=off PEARRT_BOOTSTRAP=none
mkdir -p "$1/app"
cd "$1"
echo 'a long password' >password
cat >app/main.py <<'END'
import ctypes, os, sqlite3, ssl, sys
assert not os.path.exists("/usr/lib/pearrt/pearrt"), "an app sees the runtime's own files"
print("hello from Python %d.%d" % sys.version_info[:2])
END
pearrt keys new alice --password-file password >/dev/null
link=$(pearrt app new --signers alice --threshold 1 --key alice --password-file password)
bundle=$(pearrt stage app --name hello --version 1 --entry main.py)
pearrt release publish "$link" "$bundle" --key alice --password-file password
pearrt run --yes "$link"
pearrt daemon status >/dev/null
pearrt daemon stop
