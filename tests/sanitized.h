/* sanitized.h - SANITIZED: 1 in a build with AddressSanitizer or ThreadSanitizer, else 0. SLOW: 1
 * there and in one without optimization, where tests of the kernels take smaller inputs. */
#ifndef TESTS_SANITIZED_H
#define TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    #define SANITIZED 1
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
        #define SANITIZED 1
    #endif
#endif
#ifndef SANITIZED
    #define SANITIZED 0
#endif

#ifdef __OPTIMIZE__
    #define SLOW SANITIZED
#else
    #define SLOW 1
#endif

#endif
