#!/bin/sh
# In a fresh container of Alpine Linux: install the wheel beside Alpine's own onnxruntime, and use it.
#     sh tests/wheel/alpine.sh WHEEL
set -eu
# py3-onnxruntime brings the library in the folder where the wheel of PyPI has it; onnxruntime is what that links to.
apk add --no-cache python3 py3-pip py3-numpy py3-tqdm py3-protobuf py3-onnxruntime onnxruntime
exec python3 tests/wheel/check_wheel.py --system-packages "$1"
