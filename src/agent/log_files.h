/* What the work thread does with the files of log_store.h. Everything blocks; nothing is shared. */
#ifndef TEMPS_AGENT_LOG_FILES_H
#define TEMPS_AGENT_LOG_FILES_H

#include "agent/log_store.h"

/* All of these take the app's directory, but for prune, which takes the one above. 0 or a negative errno. */
/* The directory is there, and nothing of the container in it. */
int log_files_replace(const char *dir, const char *container) MUST_CHECK;
int log_files_append(const char *path, struct slice data) MUST_CHECK;
/* The newest first, at most LOG_LIST_MAX; <*list> is the caller's to free(). No directory: none. */
int log_files_list(const char *dir, struct wire_kept **list, size_t *n) MUST_CHECK;
/* LOG_CHUNK_BYTES at most into <chunk>; moves <at> on. <*n> 0: the end. -ENOENT: there is none, at the first chunk. */
int log_files_read(const char *dir, const char *container, struct log_place *at, char *chunk, size_t *n) MUST_CHECK;
/* Removes segments that were last written before <oldest_ms>, then the oldest until the rest is <max_bytes> or less, where each counts
 * for 16 KiB at least. */
void log_files_prune(const char *dir, uint64_t max_bytes, uint64_t oldest_ms);

#endif
