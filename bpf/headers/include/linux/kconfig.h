/* bcc includes this file before anything else and takes the folder for a kernel tree. */
#define CONFIG_BPF_SYSCALL 1
