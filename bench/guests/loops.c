// Integer loops of a few hundred million instructions each, and the sum that proves them done.
#include <stddef.h>
#include <stdint.h>

static uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// Shifts, additions, a multiplication; all in registers.
static inline uint64_t alu(void)
{
    uint64_t sum = 1;

    for (int i = 0; i < 60000000; i++)
        sum = (sum ^ next()) * 0x2545f4914f6cdd1d + (sum >> 29);
    return sum;
}

// Calls and returns.
static __attribute__((noinline)) uint64_t fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static inline uint64_t calls(void)
{
    return fib(36);
}

static uint32_t ring[1 << 20];

// Loads that depend on each other, over 4 MiB.
static inline uint64_t chase(void)
{
    uint32_t n = sizeof(ring) / sizeof(ring[0]), at = 0;

    for (uint32_t i = 0; i < n; i++)
        ring[i] = i;
    for (uint32_t i = n - 1; i > 0; i--) {      // Sattolo: one cycle through all of them
        uint32_t j = next() % i, other = ring[i];
        ring[i] = ring[j];
        ring[j] = other;
    }
    for (int i = 0; i < 20000000; i++)
        at = ring[at];
    return at;
}

static uint64_t from[1 << 15], to[1 << 15];

// Loads and stores in a row, over 512 KiB.
static inline uint64_t copy(void)
{
    size_t n = sizeof(from) / sizeof(from[0]);

    for (size_t i = 0; i < n; i++)
        from[i] = next();
    for (int round = 0; round < 3000; round++) {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i] + round;
        from[round] ^= to[n - 1 - round];
    }
    return to[1] ^ to[n - 1];
}

static uint32_t table[256];
static uint8_t bytes[1 << 16];

// A table and bytes.
static inline uint64_t crc(void)
{
    uint32_t sum = ~0u;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320 : table[i] >> 1;
    }
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = next();
    for (int round = 0; round < 500; round++)
        for (size_t i = 0; i < sizeof(bytes); i++)
            sum = table[(sum ^ bytes[i]) & 255] ^ sum >> 8;
    return ~sum;
}

static uint8_t composite[1 << 20];

// Stores with growing strides, and a branch that is hard to foresee.
static inline uint64_t sieve(void)
{
    uint64_t primes = 0;

    for (int round = 0; round < 40; round++) {
        for (size_t i = 0; i < sizeof(composite); i++)
            composite[i] = 0;
        for (size_t i = 2; i < sizeof(composite); i++) {
            if (composite[i])
                continue;
            primes++;
            for (size_t j = i * i; j < sizeof(composite); j += i)
                composite[j] = 1;
        }
    }
    return primes;
}

static uint64_t heap[1 << 16];

static void sift(size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && heap[child] < heap[child + 1])
            child++;
        if (heap[root] >= heap[child])
            return;
        uint64_t other = heap[root];
        heap[root] = heap[child];
        heap[child] = other;
    }
}

// Comparisons and exchanges.
static inline uint64_t sort(void)
{
    size_t n = sizeof(heap) / sizeof(heap[0]);
    uint64_t sum = 0;

    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < n; i++)
            heap[i] = next();
        for (size_t i = n / 2; i-- > 0;)
            sift(i, n);
        for (size_t i = n; i-- > 1;) {
            uint64_t largest = heap[0];
            heap[0] = heap[i];
            heap[i] = largest;
            sift(0, i);
        }
        sum ^= heap[n / 3];
    }
    return sum;
}

int main(void)
{
    volatile uint8_t *uart = (volatile uint8_t *)0x10000000;
    uint64_t sum = LOOP();

    for (int shift = 60; shift >= 0; shift -= 4)
        *uart = "0123456789abcdef"[sum >> shift & 15];
    *uart = '\n';
    return 0;
}
