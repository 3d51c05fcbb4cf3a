#!/bin/sh
# added.sh ENVIRONMENT SINCE FOLDER: copy what came into a virtual environment after the file SINCE was made into FOLDER, below
# its own path: the layer that the worker's image has on top of the services'.
set -eu
mkdir -p "$3"
cd /
find "${1#/}" \( -type f -o -type l \) -cnewer "$2" -print0 | xargs -0 cp -a --parents --target-directory="$3"
