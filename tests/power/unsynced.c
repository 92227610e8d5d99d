/* Preloaded into a process, it notes outside of one folder what of that folder is on disk: for
 * each file how many bytes a finished fsync covers, for each folder which entries. The test then
 * kills the process and takes away the rest, as a power cut does: see disk.py.
 *
 * What is on disk is noted after fsync returned, with the size from before it was called. Files
 * are taken to grow at their end; sync_file_range, which promises nothing, counts for nothing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[PATH_MAX], notes[PATH_MAX];
static size_t folder_length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, ...) ((int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("UNSYNCED_FOLDER"), *kept = getenv("UNSYNCED_NOTES");
    if (!given || !kept || !realpath(given, folder) || !realpath(kept, notes)) {
        fprintf(stderr, "unsynced: UNSYNCED_FOLDER and UNSYNCED_NOTES must be folders\n");
        _exit(70);
    }
    folder_length = strlen(folder);
}

static int is_inside(const char *path) {
    return strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

/* The absolute path of a file or folder that is open, if it lies inside the folder. */
static int find_path(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

static void note_size(ino_t number, int64_t size, int is_cut) {
    char path[PATH_MAX + 64];
    int64_t before = -1;
    snprintf(path, sizeof path, "%s/files/%llu", notes, (unsigned long long)number);
    pthread_mutex_lock(&lock);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    if (pread(fd, &before, sizeof before, 0) != sizeof before) before = -1;
    /* Two threads may sync the same file; a file that is cut is shorter for good. */
    int is_news = is_cut ? before > size : before < size;
    if (is_news && pwrite(fd, &size, sizeof size, 0) != sizeof size) abort();
    close(fd);
    pthread_mutex_unlock(&lock);
}

/* A list of the folder's entries, written beside where it will stand once fsync has returned. */
static void list_folder(const char *path, const char *list) {
    DIR *entries = opendir(path);
    FILE *out = fopen(list, "w");
    if (!entries || !out) abort();
    for (struct dirent *entry; (entry = readdir(entries));)
        if (entry->d_type == DT_REG)
            fprintf(out, "%llu\t%s\n", (unsigned long long)entry->d_ino, entry->d_name);
    fclose(out);
    closedir(entries);
}

static int sync_folder(int fd, const char *path, ino_t number, int (*sync)(int)) {
    char list[PATH_MAX + 64], made[PATH_MAX + 64];
    snprintf(list, sizeof list, "%s/folders/%llu", notes, (unsigned long long)number);
    snprintf(made, sizeof made, "%s/made-%d-%d", notes, getpid(), fd);
    list_folder(path, made);
    int outcome = sync(fd), error = errno;
    if (outcome == 0) REAL("rename", const char *, const char *)(made, list);
    errno = error;
    return outcome;
}

static int follow_sync(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    struct stat before;
    if (fstat(fd, &before) != 0 || !find_path(fd, path)) return sync(fd);
    if (S_ISDIR(before.st_mode)) return sync_folder(fd, path, before.st_ino, sync);
    int outcome = sync(fd), error = errno;
    if (outcome == 0) note_size(before.st_ino, before.st_size, 0);
    errno = error;
    return outcome;
}

int fsync(int fd) { return follow_sync(fd, REAL("fsync", int)); }
int fdatasync(int fd) { return follow_sync(fd, REAL("fdatasync", int)); }

static int follow_cut(int fd, off_t length, int outcome) {
    char path[PATH_MAX];
    struct stat now;
    int error = errno;
    if (outcome == 0 && fstat(fd, &now) == 0 && find_path(fd, path))
        note_size(now.st_ino, length, 1);
    errno = error;
    return outcome;
}

int ftruncate(int fd, off_t length) {
    return follow_cut(fd, length, REAL("ftruncate", int, off_t)(fd, length));
}
int ftruncate64(int fd, off64_t length) {
    return follow_cut(fd, length, REAL("ftruncate64", int, off64_t)(fd, length));
}

static int follow_cut_of(const char *path, off_t length, int outcome) {
    struct stat now;
    char whole[PATH_MAX];
    int error = errno;
    if (outcome == 0 && realpath(path, whole) && is_inside(whole) && stat(whole, &now) == 0)
        note_size(now.st_ino, length, 1);
    errno = error;
    return outcome;
}

int truncate(const char *path, off_t length) {
    return follow_cut_of(path, length, REAL("truncate", const char *, off_t)(path, length));
}
int truncate64(const char *path, off64_t length) {
    return follow_cut_of(path, length, REAL("truncate64", const char *, off64_t)(path, length));
}

/* A file that loses its name may be needed again, where its folder was not synced since. */
static void keep(const char *path) {
    char whole[PATH_MAX], kept[PATH_MAX + 64];
    struct stat there;
    int error = errno;
    if (realpath(path, whole) && is_inside(whole) && stat(whole, &there) == 0 &&
        S_ISREG(there.st_mode)) {
        snprintf(kept, sizeof kept, "%s/nameless/%llu", notes, (unsigned long long)there.st_ino);
        if (link(whole, kept) != 0 && errno != EEXIST) abort();
    }
    errno = error;
}

int unlink(const char *path) {
    keep(path);
    return REAL("unlink", const char *)(path);
}
int unlinkat(int at, const char *path, int flags) {
    if (at == AT_FDCWD) keep(path);
    return REAL("unlinkat", int, const char *, int)(at, path, flags);
}
int rename(const char *from, const char *to) {
    keep(to);
    return REAL("rename", const char *, const char *)(from, to);
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    if (to_at == AT_FDCWD) keep(to);
    return REAL("renameat", int, const char *, int, const char *)(from_at, from, to_at, to);
}
