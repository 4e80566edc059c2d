// Address spaces of the demo: one per hart, Sv39 on even harts, Sv48 on odd ones.
//
//   0x0000_0000  devices, 1 GiB as it is       kernel only
//   0x4000_0000  user: code, heap … stack      4 KiB pages, on demand
//   0x8000_0000  RAM, 1 GiB as it is           kernel only
#include "demo.h"

// Pages for user memory: a ring for each hart. The first lap touches RAM that nobody has touched
// before, so the hypervisor sees stage-2 faults; later laps reuse it.
#define RING 0x81000000UL
#define RING_PAGES 512UL

#define V 1UL
#define RW 6UL
#define RX 10UL
#define RWX 14UL
#define U 16UL
#define AD 0xc0UL

static uint64_t tables[HARTS_MAX][4][512] __attribute__((aligned(4096)));

static uint64_t entry(uint64_t address, uint64_t flags) { return address >> 2 | flags | V; }

void paging_start(struct hart *self)
{
    uint64_t(*t)[512] = tables[self->id];
    t[0][0] = entry((uint64_t)t[1], 0);         // Sv48 root
    t[1][0] = entry(0, RW | AD);                // Sv39 root
    t[1][1] = entry((uint64_t)t[2], 0);
    t[1][2] = entry(0x80000000, RWX | AD);
    t[2][0] = entry((uint64_t)t[3], 0);
    t[3][0] = entry((uint64_t)user_page, RX | U | AD);
    uint64_t asid = (self->id + 1) << 44;
    __asm__ volatile("sfence.vma" ::: "memory");
    if (self->id & 1) csr_write(satp, 9UL << 60 | asid | (uint64_t)t[0] >> 12);
    if (csr_read(satp) == 0) csr_write(satp, 8UL << 60 | asid | (uint64_t)t[1] >> 12);
    self->table_mode = csr_read(satp) >> 60;
    __asm__ volatile("sfence.vma" ::: "memory");
}

// Maps a zeroed page at a user address; 0 when the address is no user address.
int page_fault(struct hart *self, uint64_t address)
{
    if (address < USER_HEAP || address >= USER_END) return 0;
    uint64_t *pte = &tables[self->id][3][address >> 12 & 511];
    if (*pte & V) return 0;
    uint64_t page = RING + (self->id * RING_PAGES + self->pages_used++ % RING_PAGES) * 4096;
    for (uint64_t i = 0; i < 512; i++) ((volatile uint64_t *)page)[i] = 0;
    *pte = entry(page, RW | U | AD);
    __asm__ volatile("sfence.vma %0, zero" ::"r"(address) : "memory");
    return 1;
}

// Takes all user pages but code away again, here by fence and elsewhere by SBI.
void drop_pages(struct hart *self)
{
    uint64_t(*leaves)[512] = &tables[self->id][3];
    for (int i = 1; i < 512; i++) (*leaves)[i] = 0;
    __asm__ volatile("sfence.vma" ::: "memory");
    uint64_t others = ((1UL << n_harts) - 1) & ~(1UL << self->id);
    if (others) sbi(EID_RFNC, 1, others, 0, USER_HEAP, USER_END - USER_HEAP);
}
