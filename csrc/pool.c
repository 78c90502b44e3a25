/* pool.c: a few threads that share out the tiles of one product.
 *
 * A job is a count and a function. Its items are handed out one by one by an atomic counter, so that a thread which
 * loses its core to another process takes fewer of them, and nobody waits for it longer than the item it holds.
 *
 * The caller opens the gate, works, and closes the gate when no item is left; then it waits for those who are inside.
 * A worker that wakes up late finds the gate closed and was never missed. The gate is one 64-bit word:
 *
 *      63            17     16     15             0
 *     +----------------+--------+------------------+
 *     |   generation   |  open  |  workers inside  |
 *     +----------------+--------+------------------+
 *
 * A worker enters by a compare-and-swap of the word it saw open, which fails if anything changed since. The job's
 * fields are written while the gate is closed and nobody is inside, and read only inside.
 *
 * Between jobs a worker looks at the gate for a few dozen microseconds, since networks run layer after layer, and then
 * sleeps on a condition variable. A second caller finds the pool busy and runs its job alone. A forked child has no
 * workers, and starts its own when it needs them. */
#define _GNU_SOURCE
#include "framework.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MAX_THREADS = 256, SPINS = 2000 };
static const uint64_t OPEN = 1u << 16, INSIDE = 0xFFFF, GENERATION = 1u << 17;

static struct {
    void (*body)(void *, int64_t);
    void *context;
    int64_t count;
    _Atomic int64_t next;
} job;

static _Atomic uint64_t gate;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static _Atomic int threads;              /* wanted, the caller included; 0: not yet asked */
static int workers;                      /* started; touched by the owner of `busy` alone */
static _Atomic int sleepers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static pthread_t ids[MAX_THREADS];       /* of the workers */

#if defined(__linux__)
static cpu_set_t allowed;                /* the cores of whoever last woke workers */

/* A system may wake a thread on its waker's core, to wait there for milliseconds, though another core is idle: guests of
 * KVM do, whose idle cores look taken. So workers are woken on any core but ours, and may then move. */
static void send_elsewhere(void) {
    sched_getaffinity(0, sizeof allowed, &allowed);
    cpu_set_t others = allowed;
    CPU_CLR(sched_getcpu(), &others);
    for (int i = 0; i < workers && CPU_COUNT(&others) > 0; i++)
        pthread_setaffinity_np(ids[i], sizeof others, &others);
}

static void move_freely(void) { pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed); }
#else
static void send_elsewhere(void) {}
static void move_freely(void) {}
#endif

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_items(void) {
    int64_t i;
    while ((i = atomic_fetch_add(&job.next, 1)) < job.count)
        job.body(job.context, i);
}

/* Waits, spinning first, until the gate has been open in a generation other than `seen`; returns the gate. */
static uint64_t wait_for_gate(uint64_t seen) {
    uint64_t g;
    for (int spin = 0; spin < SPINS; spin++, pause_briefly()) {
        g = atomic_load(&gate);
        if ((g & OPEN) && g / GENERATION != seen)
            return g;
    }
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&sleepers, 1);
    int slept = 0;
    for (; g = atomic_load(&gate), !(g & OPEN) || g / GENERATION == seen; slept = 1)
        pthread_cond_wait(&wake, &lock);
    atomic_fetch_sub(&sleepers, 1);
    if (slept)
        move_freely();
    pthread_mutex_unlock(&lock);
    return g;
}

static void *work(void *argument) {
    const int index = (int)(intptr_t)argument;
    uint64_t seen = 0;                   /* generations start at 1 */
    for (;;) {
        uint64_t g = wait_for_gate(seen);
        seen = g / GENERATION;
        if (index >= atomic_load(&threads))
            continue;
        while ((g & OPEN) && g / GENERATION == seen)
            if (atomic_compare_exchange_weak(&gate, &g, g + 1)) {
                take_items();
                atomic_fetch_sub(&gate, 1);
                break;
            }
    }
    return NULL;
}

static void start_afresh_in_child(void) {
    workers = 0;
    atomic_store(&gate, 0);
    atomic_store(&sleepers, 0);
    atomic_flag_clear(&busy);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, start_afresh_in_child); }

static void start_workers(int wanted) {
    pthread_once(&once, watch_forks);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (workers < wanted &&           /* the caller does the work that nobody takes */
           pthread_create(ids + workers, &attributes, work, (void *)(intptr_t)(workers + 1)) == 0)
        workers++;
    pthread_attr_destroy(&attributes);
}

void nq_for(int parallel, int64_t count, void (*body)(void *context, int64_t i), void *context) {
    const int wanted = parallel && count > 1 ? nq_get_num_threads() : 1;
    if (wanted == 1 || atomic_flag_test_and_set(&busy)) {
        for (int64_t i = 0; i < count; i++)
            body(context, i);
        return;
    }
    start_workers(wanted - 1);
    job.body = body;
    job.context = context;
    job.count = count;
    atomic_store(&job.next, 0);
    atomic_fetch_add(&gate, GENERATION | OPEN);
    if (atomic_load(&sleepers) > 0) {
        pthread_mutex_lock(&lock);
        send_elsewhere();
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&lock);
    }
    take_items();
    atomic_fetch_and(&gate, ~OPEN);
    for (int spin = 0; atomic_load(&gate) & INSIDE; spin++) {
        if (spin < SPINS)
            pause_briefly();
        else
            sched_yield();
    }
    atomic_flag_clear(&busy);
}

int nq_get_num_threads(void) {
    int wanted = atomic_load(&threads);
    if (wanted > 0)
        return wanted;
#if defined(__linux__)
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
#else
    int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
#endif
    cpus = cpus < 1 ? 1 : cpus > MAX_THREADS ? MAX_THREADS : cpus;
    int unasked = 0;
    atomic_compare_exchange_strong(&threads, &unasked, cpus);
    return atomic_load(&threads);
}

nq_status nq_set_num_threads(int wanted) {
    if (wanted < 1 || wanted > MAX_THREADS)
        return NQ_BAD_ARGUMENT;
    atomic_store(&threads, wanted);
    return NQ_OK;
}
