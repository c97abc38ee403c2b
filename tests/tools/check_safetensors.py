#!/usr/bin/env python3
"""Reads a safetensors file with the reference implementation and prints what it finds. Development only.

Needs PyPI safetensors and numpy: check_safetensors.py FILE. Every tensor must have the bytes that its header entry
names, and a file written by the reference must be accepted by `govtrain inspect` (pass its path as --binary).
"""
import argparse
import json
import struct
import subprocess
import tempfile
import os

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file


def check(path):
    with open(path, "rb") as file:
        raw = file.read()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    with safe_open(path, framework="numpy") as tensors:
        assert sorted(tensors.keys()) == sorted(header)
        for name in tensors.keys():
            begin, end = header[name]["data_offsets"]
            value = tensors.get_tensor(name)
            assert value.dtype == numpy.float32 and list(value.shape) == header[name]["shape"]
            assert value.tobytes() == raw[8 + length + begin : 8 + length + end], name
        print(f"{path}: {len(header)} tensors, metadata {tensors.metadata()}")


def check_reader(binary):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "reference.safetensors")
        arrays = {"b.weight": numpy.arange(6, dtype=numpy.float32).reshape(2, 3), "a": numpy.zeros((0, 4), numpy.float16)}
        save_file(arrays, path, metadata={"format": "pt"})
        out = subprocess.run([binary, "inspect", path], check=True, capture_output=True, text=True).stdout
        assert "b.weight" in out and "2 x 3" in out and "F16" in out, out
        print(f"{binary}: reads what the reference wrote")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--binary")
    arguments = parser.parse_args()
    for each in arguments.files:
        check(each)
    if arguments.binary:
        check_reader(arguments.binary)
