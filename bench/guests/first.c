// Writes one line and ends: how long does a machine take to its first output?
int main(void)
{
    volatile unsigned char *uart = (volatile unsigned char *)0x10000000;

    for (const char *text = "here\n"; *text; text++)
        *uart = *text;
    return 0;
}
