// The demo's console: printing, the UART's receive interrupt, and what one may type.
#include "demo.h"
#include <stdarg.h>

#define UART_IRQ 10
#define PENDING_MAX 64
#define LINE_MAX 96

static uint64_t context;        // hart 0's S-mode context of the PLIC; 2: none works, so poll
static volatile char pending[PENDING_MAX];
static volatile uint64_t n_put, n_got;
static char line[LINE_MAX + 1];
static uint64_t line_len;

static char *number(char *out, uint64_t n, unsigned base, int digits)
{
    char text[24];
    int len = 0;
    do text[len++] = "0123456789abcdef"[n % base];
    while ((n /= base) || len < digits);
    while (len) *out++ = text[--len];
    return out;
}

// A line ends in \r\n, as a terminal wants it.
void print(const char *format, ...)
{
    static char buffer[512];
    char *out = buffer, *end = buffer + sizeof buffer - 32;
    va_list args;
    va_start(args, format);
    for (const char *f = format; *f && out < end; f++) {
        if (*f != '%') {
            if (*f == '\n') *out++ = '\r';
            *out++ = *f;
            continue;
        }
        int digits = *++f == '0' ? (f++, 2) : 1;
        if (*f == 's')
            for (const char *s = va_arg(args, const char *); *s && out < end;) *out++ = *s++;
        else
            out = number(out, va_arg(args, uint64_t), *f == 'x' ? 16 : 10, digits);
    }
    va_end(args);
    *out = 0;
    puts(buffer);
}

// Firmware with an M-mode has two PLIC contexts per hart, a delegated VM one: ours is the one that
// raises SEIP when the UART's transmitter interrupts.
void console_start(void)
{
    put32(PLIC + 4 * UART_IRQ, 1);
    put8(UART + 1, 2);
    for (context = 0; context < 2; context++) {
        put32(PLIC + 0x2000 + 0x80 * context, 1 << UART_IRQ);
        put32(PLIC + 0x200000 + 0x1000 * context, 0);
        for (int i = 0; i < 100; i++)
            if (csr_read(sip) & 0x200) goto found;
        put32(PLIC + 0x2000 + 0x80 * context, 0);
    }
found:
    put8(UART + 2, 1);          // FIFO on
    put8(UART + 1, 1);          // receive interrupt only
    if (context < 2) console_interrupt();
}

static void receive(void)
{
    while (get8(UART + 5) & 1) {
        char c = (char)get8(UART);
        if (n_put - n_got < PENDING_MAX) pending[n_put++ % PENDING_MAX] = c;
    }
}

// Claims until nothing is left; bytes wait in `pending` for console_poll.
void console_interrupt(void)
{
    uint64_t claim = PLIC + 0x200004 + 0x1000 * context;
    uint32_t irq;
    while ((irq = get32(claim))) {
        receive();
        get8(UART + 2);
        put32(claim, irq);
    }
}

int console_busy(void) { return line_len != 0; }

static int is(const char *command)
{
    uint64_t i = 0;
    while (command[i] && command[i] == line[i]) i++;
    return command[i] == line[i];
}

static void obey(void)
{
    line[line_len] = 0;
    line_len = 0;
    if (!line[0]) return;
    if (is("help")) {
        print("help   this list\nharts  state of every hart\n"
              "off    power off\nreboot start again\nfail   power off, reporting a failure\n");
    } else if (is("harts")) {
        for (uint64_t i = 0; i < n_harts; i++) {
            struct hart *h = &harts[i];
            print("hart %u: HSM state %u, Sv%s, %u beats, %u IPIs, %u jobs, %u page faults, %u refused\n",
                  i, sbi(EID_HSM, 2, i, 0, 0, 0).value, h->table_mode == 9 ? "48" : "39", h->beats,
                  h->n_ipis, h->n_jobs, h->n_user_faults, h->n_refused);
        }
    } else if (is("off")) {
        print("Good-bye.\n");
        sbi(EID_SRST, 0, 0, 0, 0, 0);
    } else if (is("reboot")) {
        sbi(EID_SRST, 0, 1, 0, 0, 0);
    } else if (is("fail")) {
        sbi(EID_SRST, 0, 0, 1, 0, 0);
    } else {
        print("you typed: %s\n", line);
    }
}

// Echoes what was typed, byte by byte through the UART, and obeys whole lines.
void console_poll(void)
{
    if (context == 2) receive();
    while (n_got != n_put) {
        char c = pending[n_got++ % PENDING_MAX];
        if (c == '\r' || c == '\n') {
            put8(UART, '\r');
            put8(UART, '\n');
            obey();
        } else if ((c == 8 || c == 127) && line_len) {
            line_len--;
            put8(UART, 8);
            put8(UART, ' ');
            put8(UART, 8);
        } else if (c >= ' ' && c < 127 && line_len < LINE_MAX) {
            line[line_len++] = c;
            put8(UART, (uint8_t)c);
        }
    }
}
