// writes 8 random bytes, as hex, to ./made; no libc
static long sys(long n, long a, long b, long c) {
  long r; __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory"); return r;
}
void _start(void) {
  unsigned char in[8]; char out[17];
  if (sys(318, (long)in, 8, 0) != 8) sys(60, 1, 0, 0);
  for (int i = 0; i < 8; i++) { out[2*i] = "0123456789abcdef"[in[i] >> 4]; out[2*i+1] = "0123456789abcdef"[in[i] & 15]; }
  out[16] = '\n';
  long fd = sys(2, (long)"made", 0101 | 01000, 0644);
  if (fd < 0 || sys(1, fd, (long)out, 17) != 17) sys(60, 2, 0, 0);
  sys(60, 0, 0, 0);
}
