// The guest that `duvisor run` starts by default: every kind of exit, at a calm pace, for ever.
//
//   each hart   100 timer beats a second; every 10th an IPI to the next hart, every 25th a user
//               program in U-mode whose pages come on demand
//   hart 0      also the console, the clock, a look at the virtio slots, a report every 5 seconds
#include "demo.h"

#define BEAT (TIMEBASE / 100)

const char guest_name[] = "demo";
struct hart harts[HARTS_MAX];
uint64_t n_harts;
struct row rows[ROWS];
static uint64_t next_row_to_print;
static uint64_t virtio_slots;   // bit n: slot n answers with the magic word

static void set_beat(struct hart *self)
{
    self->next_beat += BEAT;
    uint64_t t = now();
    if (self->next_beat < t) self->next_beat = t + BEAT;    // late: owe no beats
    sbi(EID_TIME, 0, self->next_beat, 0, 0, 0);
}

static void handle_interrupt(struct hart *self, uint64_t cause)
{
    if (cause == 5) {
        self->beats++;
        set_beat(self);
    } else if (cause == 1) {
        csr_clear(sip, 2);
        self->n_ipis++;
    } else if (cause == 9) {
        console_interrupt();
    }
}

void handle_trap(struct hart *self, struct frame *frame)
{
    uint64_t cause = csr_read(scause), value = csr_read(stval);
    int from_user = !(frame->sstatus & 0x100);
    if (cause >> 63) {
        handle_interrupt(self, cause & 63);
    } else if (!from_user && self->fixup) {
        frame->sepc = self->fixup;
        self->fixup = 0;
    } else if (from_user && cause == 8) {
        leave_user(frame->x[10], frame);
    } else if (from_user && cause == 2) {
        self->n_refused++;
        frame->sepc += 4;
    } else if (from_user && (cause == 13 || cause == 15) && page_fault(self, value)) {
        self->n_user_faults++;
    } else if (from_user) {
        leave_user(~0UL, frame);
    } else {
        fail_pair("unexpected trap: sepc, scause:", frame->sepc, cause);
    }
}

static uint64_t sum(uint64_t offset)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < n_harts; i++)
        total += *(volatile uint64_t *)((char *)&harts[i] + offset);
    return total;
}
#define SUM(field) sum(__builtin_offsetof(struct hart, field))

static void report(void)
{
    uint64_t low = get32(RTC), high = get32(RTC + 4);
    uint64_t s = (high << 32 | low) / 1000000000 % 86400;
    uint64_t pages = 0;
    for (uint64_t i = 0; i < n_harts; i++)
        pages += harts[i].pages_used < 512 ? harts[i].pages_used : 512;
    print("[%u s] RTC %0u:%0u:%0u UTC; %u beats, %u IPIs, %u user jobs (%u failed), %u page faults, "
          "%u pages of RAM in use, %u refused\n",
          now() / TIMEBASE, s / 3600, s / 60 % 60, s % 60, SUM(beats), SUM(n_ipis), SUM(n_jobs),
          SUM(n_failed), SUM(n_user_faults), pages, SUM(n_refused));
}

static void look_at_virtio(int aloud)
{
    for (uint64_t slot = 0; slot < 8; slot++) {
        uint64_t at = VIRTIO + slot * 0x1000;
        uint32_t magic, version = 0, device = 0;
        if (!aloud && !(virtio_slots >> slot & 1)) continue;
        if (!try_load(at, &magic) || magic != 0x74726976) continue;
        virtio_slots |= 1UL << slot;
        try_load(at + 4, &version);
        try_load(at + 8, &device);
        if (aloud && device)
            print("virtio slot %u: device type %u, version %u\n", slot, (uint64_t)device,
                  (uint64_t)version);
    }
}

static void hart_0_beat(uint64_t beat)
{
    console_poll();
    if (beat % 50 == 20 && !console_busy()) {   // next row of the picture, if its hart is done
        struct row *row = &rows[next_row_to_print % ROWS];
        if (__atomic_load_n(&row->ready, __ATOMIC_ACQUIRE)) {
            print("%s  row %u by hart %u\n", row->text, next_row_to_print % ROWS, row->hart);
            row->ready = 0;
            next_row_to_print++;
        }
    }
    if (beat % 100 == 40) look_at_virtio(0);
    if (beat % 100 == 60 && !try_csr()) harts[0].n_refused++;
    if (beat % 100 == 80) put32(PLIC + 4, get32(PLIC + 4));
    if (beat % 500 == 499 && !console_busy()) report();
}

void hart_loop(struct hart *self)
{
    self->next_beat = now() + self->id * (BEAT / HARTS_MAX);
    set_beat(self);
    csr_set(sie, 0x222);
    for (;;) {
        csr_clear(sstatus, 2);
        while (self->beats_seen == self->beats) {
            __asm__ volatile("wfi" ::: "memory");
            csr_set(sstatus, 2);        // take what woke us
            csr_clear(sstatus, 2);
            if (self->id == 0) console_poll();
        }
        csr_set(sstatus, 2);
        uint64_t beat = self->beats_seen++;
        if (beat % 10 == 5) sbi(EID_IPI, 0, 1, (self->id + 1) % n_harts, 0, 0);
        if (beat % 25 == self->id * 3) run_job(self);
        if (self->id == 0) hart_0_beat(beat);
    }
}

void hart_start(uint64_t id)
{
    struct hart *self = &harts[id];
    self->id = id;
    __asm__ volatile("mv tp, %0" ::"r"(self));
    csr_write(sscratch, 0);
    csr_write(stvec, demo_trap);
    csr_set(sstatus, 0x2000);           // FS: user programs compute
    paging_start(self);
    hart_loop(self);
}

int main(uint64_t id)
{
    n_harts = count_harts();
    print("\nThis is the demo guest: %u harts in S-mode, user programs in U-mode.\n"
          "Every hart has 100 timer beats a second, greets its neighbour by IPI, and runs user programs\n"
          "whose memory is paged in on demand; hart 0 also looks after the devices and this console.\n"
          "Type a line and press Enter. \"help\" lists what it understands, \"off\" powers off.\n\n",
          n_harts);
    struct hart *self = &harts[id];
    __asm__ volatile("mv tp, %0" ::"r"(self));
    csr_write(stvec, demo_trap);
    console_start();
    look_at_virtio(1);
    for (uint64_t i = 1; i < n_harts; i++) {
        while (sbi(EID_HSM, 2, i, 0, 0, 0).value != 1)     // the boot hart may be stopping still
            ;
        struct sbi r = sbi(EID_HSM, 0, i, (uint64_t)_start_other, (uint64_t)second_hart, 0);
        if (r.error) fail_pair("hart_start: hart, error:", i, (uint64_t)r.error);
    }
    hart_start(id);
    return 0;
}
