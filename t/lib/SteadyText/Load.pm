# Sessions that ask all the time while a test breaks something, and what became of every call.
#
#   my $load = SteadyText::Load->new($cluster, clients => 16);
#   $load->await(500);                              # so many answers since here
#   ... break something ...
#   $load->finish;
#   is($load->not_right, '');                       # a fallback, a NULL and an error are failures
#   cmp_ok($load->milliseconds(0.99), '<=', 250);
#
# Each client is one session in one statement, a PL/pgSQL loop that measures its calls on the server: no other process's turn on a
# busy machine counts as a call's time. Every prompt is another one, and the echo daemon's right answer is the prompt itself.
package SteadyText::Load;

use strict;
use warnings;

sub new {
    my ($class, $cluster, %options) = @_;
    prepare($cluster) unless $cluster->{load};
    my $self = bless { cluster => $cluster, number => ++$cluster->{load}, clients => $options{clients} // 16 }, $class;
    my $prepare = join '', map { "SET $_;" } @{ $options{set} // [ "steadytext.on_failure = 'error'" ] };
    # `head` begins each prompt: a fault for the echo daemon; `model` picks a daemon; `calls` ends a client that has made so many.
    $self->{sessions} = [ map { $cluster->session->send(sprintf "%s SELECT load_run(%d, %d, '%s', '%s', %d)", $prepare, $self->{number}, $_,
        $options{head} // '', $options{model} // '', $options{calls} // 2**31 - 1) } 1 .. $self->{clients} ];
    return $self;
}

# A client's calls are written when its loop ends, with the transaction; `load_answers` counts meanwhile.
sub prepare {
    my ($cluster) = @_;
    $cluster->sql(q(
        CREATE TABLE load_calls (load int, began timestamptz, ms float8, outcome text);
        CREATE SEQUENCE load_over MINVALUE 0 START 0;
        CREATE SEQUENCE load_answers;
        CREATE FUNCTION load_run(load int, client int, head text, model text, calls int) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE
            prompt text;
            answer text;
            began timestamptz;
            outcome text;
        BEGIN
            FOR i IN 1 .. calls LOOP
                EXIT WHEN (SELECT last_value >= load FROM load_over);
                prompt := format('%s load %s, client %s, call %s', head, load, client, i);
                began := clock_timestamp();
                BEGIN
                    answer := steadytext_generate(prompt, use_cache => false, model => nullif(model, ''));
                    outcome := CASE WHEN answer IS NULL THEN 'null'
                                    WHEN answer = prompt THEN 'right'
                                    WHEN answer = current_setting('steadytext.fallback_text') THEN 'fallback'
                                    ELSE 'wrong' END;
                    PERFORM nextval('load_answers');
                EXCEPTION WHEN OTHERS THEN
                    outcome := SQLSTATE;
                END;
                INSERT INTO load_calls VALUES (load, began, extract(epoch FROM clock_timestamp() - began) * 1000, outcome);
            END LOOP;
        END $$));
    return;
}

# Waits until so many more answers, right or wrong, have come; false if they do not.
sub await {
    my ($self, $more) = @_;
    my $from = $self->{cluster}->sql('SELECT last_value FROM load_answers');
    return $self->{cluster}->poll_until("SELECT last_value >= $from + $more FROM load_answers", 't', 60);
}

# Has the clients end after the calls under way, and waits for them; how many ended well.
sub finish {
    my ($self) = @_;
    $self->{cluster}->sql("SELECT setval('load_over', $self->{number})");
    return $self->join;
}

# Waits for clients that end by themselves.
sub join {
    my ($self) = @_;
    return scalar grep { my $result = $_->finish; $self->{complaints} .= $result->{err}; $result->{state} eq '' } @{ $self->{sessions} };
}

# One value over the calls of this load that meet a condition in SQL.
sub value {
    my ($self, $expression, $condition) = @_;
    return $self->{cluster}->sql("SELECT $expression FROM load_calls WHERE load = $self->{number} AND (" . ($condition // 'true') . ')');
}

sub calls { return $_[0]->value('count(*)') }

# Outcomes that are no right answers, with their counts; '' if there is none.
sub not_right {
    my ($self) = @_;
    return $self->{cluster}->sql(qq(SELECT string_agg(outcome || ': ' || n, ', ' ORDER BY outcome)
        FROM (SELECT outcome, count(*) AS n FROM load_calls WHERE load = $self->{number} AND outcome <> 'right' GROUP BY outcome) x));
}

# The time that this share of the calls (0 to 1) did not exceed; 1 is the slowest call.
sub milliseconds {
    my ($self, $share, $condition) = @_;
    return $self->value("round(percentile_cont($share) WITHIN GROUP (ORDER BY ms)::numeric, 2)", $condition);
}

# The longest times, in milliseconds, in which no call of any client ended: how long whatever serves them all stood still. One
# client's slowest call may be slow because others had the processors; a pause of all is so only now and then.
sub pauses {
    my ($self) = @_;
    return split /\n/, $self->{cluster}->sql(qq(SELECT round(extract(epoch FROM pause) * 1000, 2) FROM (
        SELECT ended - lag(ended) OVER (ORDER BY ended) AS pause
        FROM (SELECT began + ms * interval '1 ms' AS ended FROM load_calls WHERE load = $self->{number}) c) p
        WHERE pause IS NOT NULL ORDER BY pause DESC LIMIT 10));
}

1;
