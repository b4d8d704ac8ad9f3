#!/bin/sh
# Stands in for Python, venv, pip and the engine: notes each call in $FAKE_LOG, does what the
# real one would leave on disk, and fails or hangs at the stage that $FAKE_FAIL or $FAKE_HANG names.
echo "$*" >> "$FAKE_LOG"
here=$(dirname "$0")

stage() {
    [ "$1" = "$FAKE_HANG" ] && echo "hanging at $1" && sleep 60
    if [ "$1" = "$FAKE_FAIL" ]; then
        echo "${FAKE_SAYS:-broken}" >&2
        exit 7
    fi
}

case "$0 $*" in
    */crackgeo\ --version) echo "crackgeo, version 0.1.0" ;;
    */crackgeo\ doctor*) stage check ;;
    *" -m venv "*)
        stage venv
        mkdir -p "$4/bin"
        cp "$0" "$4/bin/python"
        [ -e "$here/no-ssl" ] && touch "$4/no-ssl"
        ;;
    *" -m pip --version") [ -e "$here/../no-pip" ] && exit 1 ;;
    *" -m pip "*" torch")
        stage torch
        touch "$here/../torch"
        ;;
    *" -m pip "*)
        stage packages
        cp "$0" "$here/crackgeo"
        ;;
    *warm_up*) stage kernels ;;
    *ensurepip*)
        [ -e "$here/../no-ssl" ] && echo '[[3, 12], ["ssl"], true, ["linux", "x86_64"]]' && exit
        echo "${FAKE_PYTHON:-[[3, 12], [], true, [\"linux\", \"x86_64\"]]}"
        ;;
esac
exit 0
