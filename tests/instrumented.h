// Whether a sanitizer or gcov is there, which need memory and descriptors of their own. For tests of limits.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LUX_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LUX_SANITIZED
#endif
#endif

#if defined(LUX_SANITIZED) || defined(LUX_COVERAGE)
inline constexpr bool kInstrumented = true;
#else
inline constexpr bool kInstrumented = false;
#endif
