# Finding nvcc. Sourced after common.sh, never run.

# Where NVIDIA's own compiler packages go when the machine has no CUDA Toolkit.
nvcc_folder=$root/.cache/nvcc
nvcc_version=13.0

# Prints the path of nvcc, or fails.
find_nvcc() {
  local place
  for place in "${CUDACXX:-}" "$(command -v nvcc)" /usr/local/cuda/bin/nvcc "$nvcc_folder/nvidia/cu13/bin/nvcc"; do
    if [ -n "$place" ] && [ -x "$place" ]; then
      echo "$place"
      return
    fi
  done
  return 1
}

# Exports CUDACXX. Where there is no nvcc, fetches it from PyPI (docs/decisions/060-nvcc-from-pypi.md).
need_nvcc() {
  if ! CUDACXX=$(find_nvcc); then
    need_packages python3 python3-pip
    say "fetching nvcc $nvcc_version"
    python3 -m pip install --quiet --target "$nvcc_folder" --only-binary :all: --no-deps \
      "nvidia-cuda-nvcc==$nvcc_version.*" "nvidia-nvvm==$nvcc_version.*" "nvidia-cuda-crt==$nvcc_version.*" \
      "nvidia-cuda-runtime==$nvcc_version.*" "nvidia-cuda-cccl==$nvcc_version.*" "nvidia-cublas==$nvcc_version.*" ||
      die "no nvcc on this machine, and pip could not fetch it; install the CUDA Toolkit, or set CUDACXX"
    # Where nvcc and CMake look for the runtime.
    ln -sfn lib "$nvcc_folder/nvidia/cu13/lib64"
    for name in cudart cublas cublasLt; do ln -sf "lib$name.so.13" "$nvcc_folder/nvidia/cu13/lib/lib$name.so"; done
    CUDACXX=$(find_nvcc) || die "pip has put no nvcc into $nvcc_folder"
  fi
  export CUDACXX
}
