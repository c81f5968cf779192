// Preloaded into a node whose drives are read by threads (io = "threads"): makes the drive in the folder NAME slow or
// dead while a file NAME with "slow MILLISECONDS" or "eio" lies in the folder that SEGUE_DRIVE_FAULTS names.
// tests/wire/support/drive_faults.py compiles it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int fails(int fd) {
  char link[64], path[512], mark[1024], text[64] = "";
  const char* folder = getenv("SEGUE_DRIVE_FAULTS");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (folder == NULL || length <= 0) return 0;
  path[length] = 0;
  char* file = strrchr(path, '/');
  if (file == NULL || strcmp(file, "/segue.drive") != 0) return 0;
  *file = 0;
  const char* name = strrchr(path, '/');
  if (name == NULL) return 0;
  snprintf(mark, sizeof mark, "%s%s", folder, name);
  FILE* opened = fopen(mark, "r");
  if (opened == NULL) return 0;
  size_t read = fread(text, 1, sizeof text - 1, opened);
  fclose(opened);
  text[read] = 0;
  long slow_ms = 0;
  if (sscanf(text, "slow %ld", &slow_ms) == 1) {
    struct timespec pause = {slow_ms / 1000, slow_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    return 0;
  }
  if (strncmp(text, "eio", 3) != 0) return 0;
  errno = EIO;
  return 1;
}

typedef ssize_t (*vectored)(int, const struct iovec*, int, off_t);
#define VECTORED(name)                                                           \
  ssize_t name(int fd, const struct iovec* pieces, int count, off_t offset) {    \
    if (fails(fd)) return -1;                                                    \
    return ((vectored)dlsym(RTLD_NEXT, #name))(fd, pieces, count, offset);       \
  }
VECTORED(preadv)
VECTORED(preadv64)
VECTORED(pwritev)
VECTORED(pwritev64)

int fdatasync(int fd) {
  if (fails(fd)) return -1;
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
