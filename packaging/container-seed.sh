#!/bin/sh
# Runs the daemon and has it seed the links that are its arguments; what it was told before it remembers. A
# link that nobody serves yet is tried again every minute.
set -u

pearrt daemon run &
daemon=$!
trap 'kill -TERM "$daemon" 2>/dev/null' TERM INT

running() { kill -0 "$daemon" 2>/dev/null; }

until pearrt daemon status >/dev/null 2>&1; do
    running || break
    sleep 0.2
done

seed() {
    for link in "$@"; do
        until pearrt seed "$link" || ! running; do
            sleep 60
        done
    done
}
seed "$@" &

wait "$daemon"
code=$?
while running; do # a signal interrupted the waiting
    wait "$daemon"
    code=$?
done
exit "$code"
