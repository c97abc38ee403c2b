#!/usr/bin/env bash
# tools/gpu_check on the emulated device of a build: what it says and how it exits when all is well, without a device,
# without a build, and on bad arguments. usage: gpu_check_test.sh BUILD
set -uo pipefail
build=$1 script=$(dirname "$0")/../../tools/gpu_check empty=$1/gpu_check_empty failed=0

# expect STATUS PATTERN ARGUMENT...: both the exit status and a line of the output.
expect() {
  local status=$1 pattern=$2 out got=0
  shift 2
  out=$("$script" "$@" 2>&1) || got=$?
  if [ "$got" != "$status" ] || ! grep -Eq "$pattern" <<<"$out"; then
    printf 'gpu_check %s: expected exit %s and /%s/, got exit %s and\n%s\n' "$*" "$status" "$pattern" "$got" "$out"
    failed=1
  fi
}

expect 0 '^usage: tools/gpu_check' --help
expect 2 'unknown argument' --fast
expect 2 "expected some of .*, got 'all'" --only train,all
expect 2 'expected a whole number above 0' --steps 0
expect 1 '^device +FAILED .*no govtrain in' --build "$empty" --only device
expect 1 '^device +FAILED .*is an emulated one' --build "$build" --only device
CUDA_VISIBLE_DEVICES='' expect 1 '^train +skipped .*no device' --emulated --build "$build" --only train
expect 0 '^device +ok .*emulated cuda' --emulated --build "$build" --only device
expect 0 '^train +ok .*bf16 [0-9.]+\.\.[0-9.]+; logs verified' --emulated --build "$build" --only train
expect 0 '^step +ok .*cpu [0-9.]+ ms, fp32 [0-9.]+ ms, tf32 [0-9.]+ ms, bf16 [0-9.]+ ms$' --emulated --build "$build" --only step
# Where PyTorch is, its times and how govtrain's relate to them.
expect 0 '^torch +(skipped .*no PyTorch|ok .*cpu [0-9.]+ ms x[0-9.]+, fp32 .*, bf16 [0-9.]+ ms x[0-9.]+$)' --emulated --build "$build" --only torch
# A run that is refused (its warmup is longer than its one step) fails the check.
expect 1 '^train +FAILED .*Nothing was started' --emulated --build "$build" --only train --steps 1
# What ends one process of the kernels' tests does not keep the others from running.
fake=$build/gpu_check_fake
mkdir -p "$fake/bin"
printf '#!/bin/sh\necho "devices  emulated cuda"\n' >"$fake/bin/govtrain"
# shellcheck disable=SC2016
printf '#!/bin/sh\ncase "$*" in *gemm_test*) kill -KILL $$ ;; esac\n' >"$fake/bin/cuda_test"
chmod +x "$fake"/bin/*
expect 1 '^kernels +FAILED .* failed: gemm_test;' --emulated --build "$fake" --only kernels
grep -q '^pieces_test$' "$fake/gpu_check/kernels.log" || { echo "gpu_check: nothing ran after gemm_test"; failed=1; }
rm -rf "$empty" "$fake"
exit $failed
