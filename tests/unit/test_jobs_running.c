/* Which of the jobs that run here are broken off, and which go back into the queue. */
#include "jobs_stage.h"

/* ---- cancelling -------------------------------------------------------------------------------- */

static void run_three(void)
{
    open_jobs();
    poll();
    answer_claim(ERR_NONE, 3, 1);
}

static void those_that_are_not_its_own_are_broken_off(void **state)
{
    (void)state;
    run_three();
    jobs_look(&core.jobs);
    assert_string_equal(looking->param[0].data, first_id);
    assert_string_equal(looking->param[1].data, "{01000000-0000-0000-0000-000000000000,"
                                                "02000000-0000-0000-0000-000000000000,"
                                                "03000000-0000-0000-0000-000000000000}");
    assert_string_equal(looking->param[2].data, "{1,1,1}");
    assert_string_equal(looking->param[3].data, "{1,1,1}");
    answer_look(ERR_NONE, "{1,3}");
    assert_true(is_cancelled(0) && !is_cancelled(1) && is_cancelled(2));
    assert_int_equal(break_offs, 1);
    assert_int_equal(looks, 1);
    close_jobs();
}

static void what_ended_meanwhile_and_runs_again_goes_on(void **state)
{
    (void)state;
    run_three();
    jobs_look(&core.jobs);
    jobs_end(&core.jobs, &turns[0]);
    turns[0].accept.ref.attempt = 2;
    jobs_begin(&core.jobs, &turns[0]);
    answer_look(ERR_NONE, "{1}");
    assert_false(is_cancelled(0));
    close_jobs();
}

static void answers_that_are_none_break_off_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        NULL, "", "{", "{}", "{x}", "{0}", "{4}", "{-1}", "{99999999999999999999}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        run_three();
        jobs_look(&core.jobs);
        answer_look(ERR_NONE, texts[i]);
        assert_false(is_cancelled(0) || is_cancelled(1) || is_cancelled(2));
        close_jobs();
    }
}

static void asked_while_it_looks_it_looks_once_more(void **state)
{
    (void)state;
    run_three();
    for (int i = 0; i < 3; i++)
        jobs_look(&core.jobs);
    assert_int_equal(looks, 1);
    answer_look(ERR_NONE, "{}");
    assert_int_equal(looks, 2);
    answer_look(ERR_DB_DOWN, NULL); /* then we do not know */
    assert_int_equal(looks, 3);
    answer_look(ERR_NONE, "{2}");
    assert_int_equal(looks, 3);
    assert_true(is_cancelled(1));
    close_jobs();
}

static void under_a_new_id_the_old_ones_are_not_its_own(void **state)
{
    (void)state;
    run_three();
    worker = second_id;
    poll();
    answer_claim(ERR_NONE, 1, 9);
    jobs_look(&core.jobs);
    assert_string_equal(looking->param[0].data, second_id);
    assert_string_equal(looking->param[1].data, "{09000000-0000-0000-0000-000000000000}");
    assert_string_equal(looking->param[2].data, "{1}");
    answer_look(ERR_NONE, "{}");
    assert_true(is_cancelled(0) && is_cancelled(1) && is_cancelled(2));
    assert_false(is_cancelled(3));
    assert_int_equal(break_offs, 1);
    close_jobs();
}

/* ---- running ----------------------------------------------------------------------------------- */

static void it_knows_what_runs_here(void **state)
{
    (void)state;
    run_three();
    struct job_ref ref = {.conversation = {{2}}, .turn_no = 1};
    assert_true(jobs_is_here(&core.jobs, &ref));
    ref.turn_no = 2;
    assert_false(jobs_is_here(&core.jobs, &ref));
    ref.turn_no = 1;
    jobs_end(&core.jobs, &turns[1]);
    assert_false(jobs_is_here(&core.jobs, &ref));
    jobs_look(&core.jobs);
    assert_string_equal(looking->param[1].data, "{01000000-0000-0000-0000-000000000000,"
                                                "03000000-0000-0000-0000-000000000000}");
    answer_look(ERR_NONE, "{2}"); /* of those it asked about */
    assert_true(!is_cancelled(0) && is_cancelled(2));
    close_jobs();
}

static void what_is_handed_back(void **state)
{
    (void)state;
    static const struct {
        enum err_kind kind;
        bool in_trouble;
        int failures;
        bool is_handed_back;
    } rows[] = {
        {ERR_NONE, true, 0, false},           {ERR_CANCELLED, false, 9, true},
        {ERR_WORKER_LOST, false, 9, true},    {ERR_QUEUE_SLOW, false, 9, true},
        {ERR_QUEUE_FULL, false, 9, true},     {ERR_MODEL_FAILED, false, 0, false},
        {ERR_MODEL_FAILED, true, 3, true},    {ERR_MODEL_FAILED, true, 4, false},
        {ERR_MODEL_TIMEOUT, true, 3, true},   {ERR_MODEL_TIMEOUT, true, 4, false},
        {ERR_MODEL_TIMEOUT, false, 0, false}, {ERR_INTERNAL, true, 0, false},
    };
    open_jobs();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct turn t = {.accept.ref.attempt = 99, .failures = rows[i].failures};
        in_trouble = rows[i].in_trouble;
        t.model.call.err.kind = rows[i].kind;
        assert_int_equal(jobs_is_handed_back(&core.jobs, &t), rows[i].is_handed_back);
    }
    close_jobs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_are_not_its_own_are_broken_off),
        cmocka_unit_test(what_ended_meanwhile_and_runs_again_goes_on),
        cmocka_unit_test(answers_that_are_none_break_off_nothing),
        cmocka_unit_test(asked_while_it_looks_it_looks_once_more),
        cmocka_unit_test(under_a_new_id_the_old_ones_are_not_its_own),
        cmocka_unit_test(it_knows_what_runs_here),
        cmocka_unit_test(what_is_handed_back),
    };
    return RUN(tests);
}
