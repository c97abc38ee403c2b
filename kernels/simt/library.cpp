#include "kernels/simt/library.h"

#include "kernels/simt/runtime.h"

namespace govtrain::simt {

void touch(const void* p, size_t bytes, Access access) {
  if (settings().observe) {
    touch_device(p, bytes, access, current_operation());
  } else if (access == Access::write) {
    trust_all_device();
  }
}

}  // namespace govtrain::simt
