// What the parts of the demo guest share.
#include <stdint.h>

#define HARTS_MAX 8
#define UART 0x10000000UL
#define VIRTIO 0x10001000UL
#define PLIC 0x0c000000UL
#define RTC 0x00101000UL
#define TIMEBASE 10000000UL

// User address space: code, heap, stack; all pages but code come on demand.
#define USER_CODE 0x40000000UL
#define USER_HEAP 0x40010000UL
#define USER_STACK_TOP 0x40100000UL
#define USER_END 0x40100000UL

#define ROW_WIDTH 64
#define ROWS 24

// What trap.S saves; the order is known there.
struct frame {
    uint64_t x[32];             // x[0] is unused
    uint64_t sepc, sstatus;
};

struct hart {
    uint64_t fixup;             // trap.S: where to go on when a load of try_load faults; offset 0
    uint64_t id;
    volatile uint64_t beats;    // timer interrupts so far
    uint64_t beats_seen, next_beat;
    uint64_t table_mode;        // satp.MODE in use: 8 or 9
    uint64_t pages_used;        // next page of the ring, counted without wrapping
    // Statistics
    volatile uint64_t n_ipis, n_user_faults, n_refused, n_jobs, n_failed;
};

struct row {
    volatile uint64_t ready;
    uint64_t hart;
    char text[ROW_WIDTH + 1];
};

extern struct hart harts[HARTS_MAX];
extern uint64_t n_harts;
extern struct row rows[ROWS];

// start.S
void puts(const char *text);
uint64_t count_harts(void);
_Noreturn void fail_pair(const char *what, uint64_t a, uint64_t b);
extern char _start_other[];

// trap.S
void demo_trap(void);
void second_hart(void);
uint64_t enter_user(uint64_t pc, uint64_t sp, uint64_t a0, uint64_t a1);
_Noreturn void leave_user(uint64_t value, struct frame *frame);
int try_load(uint64_t address, uint32_t *value); // 0 when the load faulted
int try_csr(void);                               // reads hstatus; 0 when that was refused

// user.S
extern char user_page[], user_sieve[], user_mandel[], user_probe[];

// paging.c
void paging_start(struct hart *self);
int page_fault(struct hart *self, uint64_t address);
void drop_pages(struct hart *self);

// jobs.c
void run_job(struct hart *self);

// console.c
void console_start(void);
void console_interrupt(void);
void console_poll(void);
int console_busy(void);         // somebody is in the middle of a line
void print(const char *format, ...); // %s, %u (64 bits), %0u (two digits), %x

// demo.c
void hart_loop(struct hart *self);

struct sbi { int64_t error; uint64_t value; };
static inline struct sbi sbi(uint64_t eid, uint64_t fid, uint64_t x, uint64_t y, uint64_t z, uint64_t w)
{
    register uint64_t a0 __asm__("a0") = x;
    register uint64_t a1 __asm__("a1") = y;
    register uint64_t a2 __asm__("a2") = z;
    register uint64_t a3 __asm__("a3") = w;
    register uint64_t a4 __asm__("a4") = 0;
    register uint64_t a6 __asm__("a6") = fid;
    register uint64_t a7 __asm__("a7") = eid;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1)
                     : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return (struct sbi){(int64_t)a0, a1};
}
#define EID_TIME 0x54494d45
#define EID_IPI 0x735049
#define EID_RFNC 0x52464e43
#define EID_HSM 0x48534d
#define EID_SRST 0x53525354

#define csr_read(csr) ({ uint64_t v; __asm__ volatile("csrr %0, " #csr : "=r"(v) :: "memory"); v; })
#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" :: "rK"(v) : "memory")
#define csr_set(csr, v) __asm__ volatile("csrs " #csr ", %0" :: "rK"(v) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc " #csr ", %0" :: "rK"(v) : "memory")

static inline uint64_t now(void) { return csr_read(time); }
static inline void put8(uint64_t at, uint8_t v) { *(volatile uint8_t *)at = v; }
static inline uint8_t get8(uint64_t at) { return *(volatile uint8_t *)at; }
static inline void put32(uint64_t at, uint32_t v) { *(volatile uint32_t *)at = v; }
static inline uint32_t get32(uint64_t at) { return *(volatile uint32_t *)at; }
