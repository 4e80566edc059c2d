// A supervisor that runs one test in U-mode under Sv39: pages come at the first fetch, load or
// store, dirty bits at the first store, timer interrupts all the time, the verdict goes to the SBI.
#include <stdint.h>

#define V 1UL
#define R 2UL
#define W 4UL
#define X 8UL
#define U 16UL
#define A 64UL
#define D 128UL
#define TICK 1000UL             // 0.1 ms
#define MEGAPAGE 0x200000UL
#define BASE 0x80200000UL       // where the image begins; it is shorter than a megapage

_Noreturn void pass(void);
_Noreturn void fail_pair(const char *what, uint64_t a, uint64_t b);
_Noreturn void enter_user(void);
extern uint64_t user_regs[32];
extern char user_begin[], user_end[], vu_test[];

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t middle[512] __attribute__((aligned(4096)));
static uint64_t leaves[512] __attribute__((aligned(4096)));
static uint64_t n_ticks;

#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"(v) : "memory")
#define csr_set(csr, v) __asm__ volatile("csrs " #csr ", %0" ::"r"(v) : "memory")

static void set_timer(void)
{
    uint64_t t;
    __asm__ volatile("rdtime %0" : "=r"(t));
    register uint64_t a0 __asm__("a0") = t + TICK;
    register uint64_t a1 __asm__("a1") = 0;
    register uint64_t a6 __asm__("a6") = 0;
    register uint64_t a7 __asm__("a7") = 0x54494d45;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a6), "r"(a7) : "memory");
}

// Maps a page of the test, or makes it dirty; 0 when there is no reason for the fault.
static int page_fault(uint64_t cause, uint64_t address)
{
    if (address < (uint64_t)user_begin || address >= (uint64_t)user_end) return 0;
    uint64_t *pte = &leaves[(address - BASE) >> 12];
    if (!(*pte & V))
        *pte = address >> 12 << 10 | V | R | W | X | U | A;
    else if (cause == 15 && !(*pte & D))
        *pte |= D;
    else
        return 0;
    __asm__ volatile("sfence.vma %0, zero" ::"r"(address) : "memory");
    return 1;
}

uint64_t handle_trap(uint64_t cause, uint64_t value, uint64_t pc)
{
    if (cause >> 63 && (cause & 63) == 5) {
        n_ticks++;
        set_timer();
        return pc;
    }
    if ((cause == 12 || cause == 13 || cause == 15) && page_fault(cause, value)) return pc;
    if (cause == 8 && user_regs[17] == 93) {
        if (user_regs[10] == 0) pass();
        fail_pair("test case, timer ticks:", user_regs[10], n_ticks);
    }
    fail_pair("trap from U-mode: scause, sepc:", cause, pc);
}

int main(void)
{
    root[0] = 0 | V | R | W | A | D;                                    // devices
    root[2] = (uint64_t)middle >> 2 | V;
    for (uint64_t i = 0; i < 512; i++)                                  // RAM, the supervisor's
        middle[i] = (0x80000000UL + i * MEGAPAGE) >> 2 | V | R | W | X | A | D;
    middle[1] = (uint64_t)leaves >> 2 | V;
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t page = BASE + i * 4096;
        if (page < (uint64_t)user_begin || page >= (uint64_t)user_end)
            leaves[i] = page >> 2 | V | R | W | X | A | D;
    }
    __asm__ volatile("sfence.vma" ::: "memory");
    csr_write(satp, 8UL << 60 | (uint64_t)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
    csr_set(sstatus, 0x2000 | 0x20);    // floating point on; interrupts on once in U-mode
    csr_set(sie, 0x20);
    set_timer();
    csr_write(sepc, vu_test);
    enter_user();
}
