#!/usr/bin/env python3
"""Compares a run's TensorBoard events with its metrics.jsonl, read by PyPI tensorboard. Development only.

check_tfevents.py FOLDER, where FOLDER holds metrics.jsonl and tensorboard/.
"""
import json
import os
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = sys.argv[1]
events = EventAccumulator(os.path.join(folder, "tensorboard"), size_guidance={"scalars": 0})
events.Reload()
expected = {}
with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as lines:
    for line in lines:
        values = json.loads(line)
        step = values.pop("step")
        for name, value in values.items():
            if value is not None:
                expected.setdefault(name, []).append((step, float(numpy.float32(value))))
found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
assert found == expected, (found, expected)
print(f"{folder}: {len(found)} scalars, {sum(len(v) for v in found.values())} values agree")
