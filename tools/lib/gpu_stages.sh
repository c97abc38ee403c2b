#!/usr/bin/env bash
# One stage of tools/gpu_check: gpu_stages.sh STAGE. What it is told comes in GPU_CHECK_*. The last line that it writes
# says what came out; exit 77 when there is nothing to do here. Not for people: tools/gpu_check is.
set -euo pipefail
# shellcheck source=tools/lib/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tools/lib/cuda.sh
. "$root/tools/lib/cuda.sh"
build=$GPU_CHECK_BUILD bin=$GPU_CHECK_BUILD/bin logs=$GPU_CHECK_LOGS steps=$GPU_CHECK_STEPS
emulated=$GPU_CHECK_EMULATED precisions=(fp32 tf32 bf16)
# Counts, which cases of the kernels' tests are about, are of observed launches.
[ "$emulated" = 0 ] || [ "$1" = kernels ] || export GOVTRAIN_SIMT_OBSERVE=0

need_program() { [ -x "$bin/$1" ] || die "no $1 in $bin; run the stage build"; }

# NVIDIA's libraries as PyTorch brings them, for a machine that has nvcc and no more of the toolkit.
python_libraries() {
  python3 -c 'import glob, nvidia
print(";".join(sorted(p for folder in nvidia.__path__ for p in glob.glob(folder + "/*"))))' 2>/dev/null || true
}

stage_build() {
  local options=(-S . -B "$build" -DCMAKE_BUILD_TYPE=Release)
  if [ "$emulated" = 1 ]; then
    options+=(-DGOVTRAIN_CUDA=emulated)
    [ -e "$build/CMakeCache.txt" ] || options=(--preset release -B "$build")
  else
    options+=(-DGOVTRAIN_CUDA=on -DGOVTRAIN_WERROR=OFF "-DCMAKE_PREFIX_PATH=$(python_libraries)")
    # A folder that was configured keeps its generator.
    [ -e "$build/CMakeCache.txt" ] || ! command -v ninja >/dev/null || options+=(-G Ninja)
    [ ! -d third_party ] || options+=("-DGOVTRAIN_VENDORED=$root/third_party")
    CUDACXX=$(find_nvcc) || die "nvcc not found on PATH or in /usr/local/cuda/bin; set CUDACXX"
    export CUDACXX
  fi
  cmake "${options[@]}" || die "$(grep -o 'cuBLASLt: not found' "$logs/build.log" || echo 'cmake failed')"
  cmake --build "$build" --parallel "$GPU_CHECK_JOBS" --target gpu_check
  local warnings cudnn
  warnings=$(grep -Ec 'warning( #[0-9D-]+)? ?:' "$logs/build.log" || true)
  cudnn=$(sed -n 's/^-- \(cuDNN: [^;]*\).*/\1; /p' "$logs/build.log")
  echo "$warnings warnings in what was compiled now; ${cudnn}cmake ${options[*]}"
}

# The tests leave out the device where there is none: what follows would pass without having met it.
stage_device() {
  need_program govtrain
  local devices
  devices=$("$bin/govtrain" env | sed -n 's/^devices *//p')
  case $devices in
    *"no cuda"* | cpu | '') die "${devices:-govtrain env names no devices}" ;;
    *"emulated cuda"*) [ "$emulated" = 1 ] || die "$devices: the build in $build is an emulated one" ;;
    *) [ "$emulated" = 0 ] || die "$devices: the build in $build is not an emulated one" ;;
  esac
  echo "$devices"
}

# Appended to names of cases: emulated, slow ones are left out.
slow=''
[ "$emulated" = 0 ] || slow='~[slow]'

# test_program PROGRAM ARGUMENT...: Catch2's last line says how many cases have passed.
test_program() {
  need_program "$1"
  "$bin/$1" "${@:2}"
}
# A failure on a device is the end of its process: one for each file. What has failed runs again with every launch waited
# for, so that the log names the kernel.
stage_kernels() {
  local file name cases files=0 failed=''
  for file in tests/cuda/*_test.cpp; do
    name=$(basename "$file" .cpp)
    # What only the emulator can tell.
    [[ "$emulated" = 1 || "$name" != *_emulated_test ]] || continue
    printf '\n%s\n' "$name"
    files=$((files + 1))
    cases=(--filenames-as-tags "[#$name]$slow")
    [ -n "$slow" ] || cases+=(-w NoTests)  # without its slow cases a file may have none
    test_program cuda_test "${cases[@]}" && continue
    failed+=" $name"
    CUDA_LAUNCH_BLOCKING=1 test_program cuda_test "${cases[@]}" || true
  done
  [ -z "$failed" ] || die "failed:$failed"
  echo "all cases of $files files"
}
stage_laws() {
  [ "$emulated" = 1 ] || export GOVTRAIN_TEST_BACKENDS=device  # tools/test has the CPU's
  test_program models_test -w NoTests "\"law*\"$slow"
}
stage_losses() {
  local log
  test_program tools_test "*device*" | tee "$logs/losses.cases"
  log=$(grep -E '^ *step 20: ' "$logs/losses.cases") || die "the case that compares losses did not run"
  log=${log#"${log%%[! ]*}"}
  printf '%s; %s\n' "$(tail -2 "$logs/losses.cases" | grep passed)" "${log%%, disturbed*}"
}

stage_train() {
  need_program govtrain
  local config=configs/quickstart.yaml options=() precision out text='' first last
  if [ "$emulated" = 1 ]; then
    config=configs/examples/basic.yaml
    options=(train.tokens_per_step=128 eval.max_tokens=128)
  elif [ ! -e .cache/corpus/corpus.jsonl ]; then
    text=" (no corpus of the quickstart here: the examples' text, in bytes)"
    options=("data.inputs=[$root/configs/examples/corpus.jsonl]" data.tokenizer.kind=bytes
      "policy.file=$root/configs/policies/examples.yaml" policy.date=2026-06-01)
  fi
  # The quickstart warms up for 40 steps.
  [ "$emulated" = 1 ] || [ "$steps" -gt 40 ] || options+=("optim.warmup_steps=$((steps / 2))")
  text="$config$text, $steps steps:"
  for precision in "${precisions[@]}"; do
    out=$logs/run-$precision
    rm -rf "$out"
    "$bin/govtrain" run "$config" "run.out=$out" run.device=cuda "run.precision=$precision" "train.steps=$steps" \
      "data.cache=$logs/prepared" eval.every=0 sample.every=0 "save.every=$steps" "${options[@]}"
    "$bin/govtrain" lineage verify "$out"
    [ "$(grep -c '"loss":' "$out/metrics.jsonl")" = "$steps" ] || die "$precision: expected $steps losses in $out/metrics.jsonl"
    first=$(sed -n 's/^.*"loss":\([^,}]*\).*$/\1/p' "$out/metrics.jsonl" | head -1)
    last=$(sed -n 's/^.*"loss":\([^,}]*\).*$/\1/p' "$out/metrics.jsonl" | tail -1)
    awk -v a="$first" -v b="$last" 'BEGIN { exit !(b > 0 && b + 0 < a + 0) }' ||
      die "$precision: the loss does not fall: $first at the start, $last at the end"
    text+=$(printf ' %s %.4f..%.4f' "$precision" "$first" "$last")
  done
  echo "$text; logs verified"
}

stage_dw() {
  need_program bench_cuda_dw
  if [ "$emulated" = 1 ]; then "$bin/bench_cuda_dw" 1 64; else "$bin/bench_cuda_dw"; fi
}

# figure PATTERN TEXT: the time that a benchmark has printed; sed's pattern has it as its first group.
figure() {
  local ms
  ms=$(sed -n "s/$1/\1/p" <<<"$2")
  [[ "$ms" =~ ^[0-9]+\.[0-9]+$ ]] || die "expected one time in ms, got '$ms'"
  echo "$ms"
}

# One line of the summary for each: the routed step with norms.
stage_step() {
  need_program bench_step
  local config=configs/quickstart.yaml rounds=30 size=() on options text='' out ms
  [ "$emulated" = 0 ] || config=configs/examples/basic.yaml rounds=1 size=(train.tokens_per_step=64)
  : >"$logs/step.ms"
  for on in cpu "${precisions[@]}"; do
    options=(run.device=cpu)
    [ "$on" = cpu ] || options=(run.device=cuda "run.precision=$on")
    out=$("$bin/bench_step" "$config" "$rounds" whole "${size[@]}" "${options[@]}")
    printf '%s\n' "$out"
    ms=$(figure '^(b) routing, norms  *\([0-9.]*\) .*$' "$out")
    echo "$on $ms" >>"$logs/step.ms"
    text+=", $on $ms ms"
  done
  echo "routed step with norms: ${text#, }"
}

# PyTorch's time for the same, and where the stage step has run, how many times as long govtrain's routed step takes.
stage_torch() {
  local rounds=30 device=cuda shape=() on options text='' out ms ours
  python3 -c 'from torch.nn.functional import rms_norm' 2>/dev/null || { echo "no PyTorch 2.4 or newer here"; exit 77; }
  if [ "$emulated" = 1 ]; then
    rounds=1 device=cpu shape=(--layers 2 --width 32 --heads 2 --mlp 64 --context 64 --examples 1)
  else
    python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
      { echo "the PyTorch here has no CUDA"; exit 77; }
  fi
  for on in cpu "${precisions[@]}"; do
    options=(--device cpu)
    [ "$on" = cpu ] || options=(--device "$device" --precision "$on")
    out=$(python3 tools/bench/step_torch.py --rounds "$rounds" "${shape[@]}" "${options[@]}")
    printf '%s\n' "$out"
    ms=$(figure '^torch .* | \([0-9.]*\) ms\/step.*$' "$out")
    ours=$(sed -n "s/^$on //p" "$logs/step.ms" 2>/dev/null || true)
    text+=", $on $ms ms$(awk -v a="$ours" -v b="$ms" 'BEGIN { if (a != "" && b > 0) printf " x%.2f", a / b }')"
  done
  echo "PyTorch$([ ! -s "$logs/step.ms" ] || echo ', xN: govtrain takes N times that'): ${text#, }"
}

"stage_$1"
