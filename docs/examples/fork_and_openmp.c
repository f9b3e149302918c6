/* fork_and_openmp - may a child use OpenMP, if its parent has used it before the fork? */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int team(void)
{
    int threads = 0;
#pragma omp parallel num_threads(2)
#pragma omp atomic
    threads++;
    return threads;
}

static void *team_in_thread(void *argument)
{
    (void)argument;
    team();
    return NULL;
}

static void directly(void)
{
    team();
}

/* A thread that has never had a team makes one of its own. */
static void on_a_fresh_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, team_in_thread, NULL) == 0)
        pthread_join(thread, NULL);
}

/* What becomes of a child that does this. An alarm ends it if it has not come back after 1 s. */
static const char *in_child(void act(void))
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        alarm(1);
        act();
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return "could not be tried";
    return WIFSIGNALED(status) ? "never came back" : "went well";
}

int main(void)
{
    setbuf(stdout, NULL);
    printf("forked before the parent's first region: %s\n", in_child(directly));
    team();
    printf("forked after it, a region in the child:  %s\n", in_child(directly));
    printf("the same, on a new thread of the child:  %s\n", in_child(on_a_fresh_thread));
    return 0;
}
