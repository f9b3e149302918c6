/* process_and_thread - a thread shares the program's memory, a process has a copy of it */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int counter; /* a global variable, like any other */

static void *add_in_thread(void *argument)
{
    (void)argument;
    counter += 10;
    return NULL;
}

/* The thread runs in the same memory. When it has ended, its work is there. */
static int count_in_thread(void)
{
    pthread_t thread;
    counter = 0;
    if (pthread_create(&thread, NULL, add_in_thread, NULL) != 0)
        return -1;
    pthread_join(thread, NULL);
    return counter;
}

/* The child has a copy of the memory as it was at fork(). What it adds, it adds to its copy; what
 * it wants to tell, it must send: here as its exit status. */
static int count_in_process(int *sent)
{
    int status;
    counter = 0;
    const pid_t child = fork();
    if (child == 0) {
        counter += 10;
        _exit(counter);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    *sent = WEXITSTATUS(status);
    return counter;
}

int main(void)
{
    int sent = -1;
    setbuf(stdout, NULL); /* or the child would have a copy of what is not yet printed, too */
    printf("after a thread added 10:  counter = %d\n", count_in_thread());
    const int here = count_in_process(&sent);
    printf("after a process added 10: counter = %d, and the process sent %d\n", here, sent);
    return 0;
}
