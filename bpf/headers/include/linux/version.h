/* The programs do not depend on the kernel's version: they are verified by the kernel that loads them. */
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
