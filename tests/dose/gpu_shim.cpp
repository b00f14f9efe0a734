// Runs the CUDA source on the host: one thread after the other, each with its own place in the launch.
//
// Compiled with KERNELS, the path of the source, and MOST_TERMS. Each kernel gets two functions for ctypes: one that
// launches it with pointers to its arguments, as the CUDA driver does, and one that tells their types.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#define __global__
#define __device__

using std::max;
using std::min;

struct Place {
    unsigned x, y, z;
};
static Place blockIdx, blockDim, threadIdx;

struct float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float atomicAdd(float *to, float value) {
    const float before = *to;
    *to += value;
    return before;
}
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }

#include KERNELS

template <class... A, size_t... N>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<N...>) {
    kernel(*static_cast<A *>(arguments[N])...);
}

template <class... A>
static void run(void (*kernel)(A...), unsigned blocks, unsigned directions, unsigned threads, void **arguments) {
    blockDim = {threads, 1, 1};
    for (unsigned y = 0; y < directions; y++)
        for (unsigned x = 0; x < blocks; x++)
            for (unsigned t = 0; t < threads; t++) {
                blockIdx = {x, y, 0};
                threadIdx = {t, 0, 0};
                call(kernel, arguments, std::index_sequence_for<A...>{});
            }
}

// numpy's letter of a scalar; a capital for arrays.
template <class T>
struct Letter;
template <>
struct Letter<double> {
    static const char is = 'd';
};
template <>
struct Letter<float> {
    static const char is = 'f';
};
template <>
struct Letter<int> {
    static const char is = 'i';
};
template <>
struct Letter<signed char> {
    static const char is = 'b';
};
template <>
struct Letter<View> : Letter<double> {};
template <>
struct Letter<float4> : Letter<float> {};
template <class T>
struct Letter<const T> : Letter<T> {};
template <class T>
struct Letter<T *> {
    static const char is = Letter<T>::is - 'a' + 'A';
};

template <class... A>
static void tell(void (*)(A...), char *letters) {
    const char all[] = {Letter<A>::is..., 0};
    std::copy(all, all + sizeof...(A) + 1, letters);
}

#define OFFER(kernel)                                                                                           \
    extern "C" void launch_##kernel(unsigned blocks, unsigned directions, unsigned threads, void **arguments) { \
        run(kernel, blocks, directions, threads, arguments);                                                    \
    }                                                                                                           \
    extern "C" void letters_##kernel(char *letters) { tell(kernel, letters); }

OFFER(trace)
OFFER(terma)
OFFER(gather)
OFFER(jumps)
OFFER(transport)
extern "C" size_t bytes_of_view() { return sizeof(View); }
