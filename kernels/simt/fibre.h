// A reusable fibre on boost.context: runs one function after another on a stack of its own with a guard page. The
// address sanitizer is told of every switch. Not thread-safe: a fibre stays on the host thread that made it.
#pragma once

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace govtrain::simt {

// Stacks with a guard page. The frames of a fibre that is unwound leave their poison behind; what is mapped there next
// may be the thread-local memory of a new thread, whose shadow GCC 12's sanitizer takes for clean without clearing it.
class FibreStacks : public boost::context::protected_fixedsize_stack {
  using Base = boost::context::protected_fixedsize_stack;

 public:
  using Base::Base;
#if defined(__SANITIZE_ADDRESS__)
  void deallocate(boost::context::stack_context& stack) noexcept {
    __asan_unpoison_memory_region(static_cast<char*>(stack.sp) - stack.size, stack.size);
    Base::deallocate(stack);
  }
#endif
};

class Fibre {
 public:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kStack = 512 * 1024;
#else
  static constexpr size_t kStack = 128 * 1024;
#endif

  // body(argument) is called once for each time that the fibre is resumed after the last call ended. `number` shifts
  // the stack a little, so that many fibres at the same place of a kernel do not share the same lines of the cache.
  Fibre(void (*body)(void*), void* argument, int number) : body_(body), argument_(argument) {
    FibreStacks stacks(kStack);
    const boost::context::stack_context stack = stacks.allocate();
    bottom_ = static_cast<char*>(stack.sp) - stack.size;
    size_ = stack.size;
    const size_t shift = static_cast<size_t>(number * 17 % 64) * 64;
    const boost::context::preallocated place(static_cast<char*>(stack.sp) - shift, stack.size - shift, stack);
    inside_ = boost::context::fiber(std::allocator_arg, place, stacks, [this](boost::context::fiber&& from) {
      outside_ = std::move(from);
      entered();
      try {
        for (;;) {
          body_(argument_);
          leave();
        }
      } catch (const boost::context::detail::forced_unwind&) {
        start_switch_out(nullptr);
        throw;
      }
      return std::move(outside_);
    });
  }
#if defined(__SANITIZE_ADDRESS__)
  // What is still inside is unwound, as boost does it.
  ~Fibre() {
    if (outside_bottom_ == nullptr) return;  // never entered
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, bottom_, size_);
    inside_ = {};
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
  }
#endif
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Called from outside: goes on inside until leave().
  void enter() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, bottom_, size_);
#endif
    inside_ = std::move(inside_).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  // Called from inside: goes back to who called enter().
  void leave() {
    void* fake = nullptr;
    start_switch_out(&fake);
    try {
      outside_ = std::move(outside_).resume();
    } catch (const boost::context::detail::forced_unwind&) {
      entered(fake);
      throw;
    }
    entered(fake);
  }

 private:
  void start_switch_out([[maybe_unused]] void** fake) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake, outside_bottom_, outside_size_);
#endif
  }
  void entered([[maybe_unused]] void* fake = nullptr) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &outside_bottom_, &outside_size_);
#endif
  }

  void (*body_)(void*);
  void* argument_;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] const void* outside_bottom_ = nullptr;
  [[maybe_unused]] size_t outside_size_ = 0;
  boost::context::fiber inside_;
  boost::context::fiber outside_;
};

}  // namespace govtrain::simt
