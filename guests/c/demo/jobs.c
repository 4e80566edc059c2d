// User programs of the demo: which one is next, and what came out.
#include "demo.h"

#define SIEVE_LIMIT 16384
#define SIEVE_ANSWER 1900

static volatile uint64_t next_row;

static uint64_t user(char *program, uint64_t a1)
{
    uint64_t pc = USER_CODE + (uint64_t)(program - user_page);
    csr_clear(sstatus, 2);
    uint64_t value = enter_user(pc, USER_STACK_TOP, USER_HEAP, a1);
    csr_set(sstatus, 2);
    return value;
}

// Rows are taken one by one, by whichever hart comes first; hart 0 prints them in order.
static void draw_row(struct hart *self)
{
    uint64_t taken = __atomic_fetch_add(&next_row, 1, __ATOMIC_RELAXED) % ROWS;
    struct row *row = &rows[taken];
    if (row->ready) return;
    if (user(user_mandel, taken) != ROW_WIDTH) {
        self->n_failed++;
        return;
    }
    csr_set(sstatus, 0x40000);  // SUM: the kernel reads a user page
    for (int i = 0; i <= ROW_WIDTH; i++) row->text[i] = ((volatile char *)USER_HEAP)[i];
    csr_clear(sstatus, 0x40000);
    row->hart = self->id;
    __atomic_store_n(&row->ready, 1, __ATOMIC_RELEASE);
}

void run_job(struct hart *self)
{
    switch (self->n_jobs++ % 4) {
    case 0:
    case 2:
        draw_row(self);
        break;
    case 1:
        if (user(user_sieve, SIEVE_LIMIT) != SIEVE_ANSWER) self->n_failed++;
        break;
    default:
        user(user_probe, 0);
    }
    drop_pages(self);
}
