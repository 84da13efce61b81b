# Read-ahead under rate limits and budgets: what is charged, refused, warned of and counted is what it is without.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0', 'enable_sort = off' ]
);
my $median = sub { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] };
$cluster->sql(q(CREATE ROLE app LOGIN; CREATE ROLE apps ROLE app; CREATE TABLE docs (id int PRIMARY KEY, body text NOT NULL, answer text, embedding vector);
    INSERT INTO docs SELECT i, 'text ' || i FROM generate_series(1, 1000) i; GRANT ALL ON docs TO apps; ANALYZE docs;
    CREATE FUNCTION asks(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN steadytext_generate($1, 5); END $$;
    CREATE TABLE stamped (id int, body text, stamp text GENERATED ALWAYS AS (steadytext_generate(body, 5)) STORED); GRANT ALL ON stamped TO apps;));
my $unlimited = q(DELETE FROM steadytext_rate_limit_rules; DELETE FROM steadytext_budgets;);

# The rows that came, the error, the warnings, the counts, and what is left of the limits. Each run is of a role that has used nothing.
my $run = 0;
sub told {
    my ($read_ahead, $limits, $query, %more) = @_;
    my $role = sprintf 'run%04d', ++$run;
    s/ROLE/$role/g for $limits, $query;
    $cluster->sql("$unlimited; SELECT steadytext_stat_reset(); CREATE ROLE $role LOGIN IN ROLE apps; $limits" . join '', map { "; ALTER ROLE $role SET $_" } @{ $more{role} // [] });
    my $result = $cluster->try_sql("SET steadytext.read_ahead = $read_ahead; " . ($more{set} // '') . "; $query", user => $role);
    my %told = (
        rows   => $result->{out} // '',
        state  => $result->{state} // '',
        says   => join(' ', grep { /WARNING|ERROR/ } split /\n/, $result->{err} // ''),
        limits => $cluster->sql(q(SELECT role, operation, unit, most, used, refused FROM steadytext_rate_limit_status ORDER BY 1, 2, 3)),
        counts => $cluster->sql(q(SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM steadytext_metrics() WHERE name LIKE '%\_total' AND name ~ 'call|request|fail|hit|miss|limit' AND name !~ 'daemon' AND value > 0)),
    );
    s/$role/ROLE/g for values %told;
    return \%told;
}

sub same {
    my ($name, $limits, $query, %more) = @_;
    my ($on, $off) = map { told($_, $limits, $query, %more) } 'on', 'off';
    is_deeply($on, $off, $name) or diag map { "$_ with: " . substr($on->{$_}, -300) . "\n$_ without: " . substr($off->{$_}, -300) . "\n" } grep { $on->{$_} ne $off->{$_} } sort keys %$on;
    is($off->{state}, $more{state} // '', "$name: as it is meant");
    return $off;
}

my $rows = sub { "COPY (SELECT id, steadytext_generate('ROLE ' || $_[0], 20) FROM docs ORDER BY id LIMIT 60) TO STDOUT" };
my $requests = q(SELECT steadytext_rate_limit_set('ROLE', requests => 25));
my $generous = q(SELECT steadytext_rate_limit_set('ROLE', requests => 100000, tokens => 100000000));

# Rows up to the refusal, and the refusal.
same('a limit that is not reached', $generous, $rows->('body'));
my $refused = same('requests', $requests, $rows->('body'), state => '53400');
is(scalar(split /\n/, $refused->{rows}), 25, 'each row before the limit is answered');
same('requests, texts that repeat', $requests, $rows->('id % 7'), state => '53400');
same('requests, with cached answers free', $requests, $rows->('id % 40'), state => '53400', role => ['steadytext.limit_cache_hits = off']);
same('NULL beyond the limit', $requests, $rows->('body'), set => q(SET steadytext.on_limit = 'null'));
same('a limit that is tried out', $requests, $rows->('body'), role => ['steadytext.limit_shadow_mode = on']);
same('calls at once', q(SELECT steadytext_rate_limit_set('ROLE', concurrency => 2)), $rows->('body'));
same('a limit of a daemon', q(SELECT steadytext_rate_limit_set('ROLE', 'daemon:' || (SELECT min(endpoint) FROM steadytext_daemons), requests => 25)), $rows->('body'), state => '53400');

# Tokens: from too few to plenty, by what the rows use.
my ($used) = same('tokens that suffice', q(SELECT steadytext_rate_limit_set('ROLE', tokens => 1000000)), $rows->('body'))->{limits} =~ /(\d+)\|0$/;
for my $percent (50, 100, 120, 150, 400) {
    my $tokens = int $used * $percent / 100;
    my @limits = ("SELECT steadytext_rate_limit_set('ROLE', tokens => $tokens)", "SELECT steadytext_budget_set('ROLE', '7 days', $tokens, 'enforce')", "SELECT steadytext_budget_set('ROLE', '7 days', $tokens, 'warn')");
    same("$percent % of the tokens, error", $limits[0], $rows->('body'), state => $percent > 100 ? '' : '53400');
    same("$percent % of the tokens, NULL beyond", $limits[0], $rows->('body'), set => q(SET steadytext.on_limit = 'null'));
    same("$percent % of the tokens, a budget", $limits[1], $rows->('body'), set => q(SET steadytext.on_limit = 'null'));
    same("$percent % of the tokens, a budget that warns", $limits[2], $rows->('body'));
}

# Calls of a statement that are begun in their turn are charged among the others.
my %mixed = (
    'two calls in a row'     => q(COPY (SELECT id, steadytext_generate('ROLE ' || body, 5), steadytext_generate('ROLE other ' || id, 5) FROM docs WHERE id <= 100 ORDER BY id) TO STDOUT),
    'a call within CASE'     => q(COPY (SELECT id, CASE WHEN id % 2 = 0 THEN steadytext_generate('ROLE case ' || id, 5) END, steadytext_generate('ROLE ' || body, 5) FROM docs WHERE id <= 100 ORDER BY id) TO STDOUT),
    'a call within a call'   => q(COPY (SELECT id, steadytext_generate(steadytext_generate('ROLE ' || body, 5) || '!', 5) FROM docs WHERE id <= 100 ORDER BY id) TO STDOUT),
    'a filter'               => q(COPY (SELECT id, steadytext_generate('ROLE out ' || id, 5) FROM docs WHERE steadytext_generate('ROLE ' || body, 5) LIKE '%1' ORDER BY id) TO STDOUT),
    'a filter under a LIMIT' => q(COPY (SELECT id FROM docs WHERE steadytext_generate('ROLE ' || body, 5) LIKE '%1' ORDER BY id LIMIT 2) TO STDOUT),
    'a function that asks'   => q(COPY (SELECT id, steadytext_generate('ROLE ' || body, 5), asks('ROLE f ' || id) FROM docs WHERE id <= 100 ORDER BY id) TO STDOUT),
    'a subquery'             => q(COPY (SELECT id, steadytext_generate('ROLE ' || body, 5) FROM docs WHERE id > (SELECT length(steadytext_generate('ROLE one ' || max(id), 5)) FROM docs) ORDER BY id) TO STDOUT),
    'a generated column'     => q(INSERT INTO stamped SELECT id, steadytext_generate('ROLE ' || body, 5) FROM docs ORDER BY id),
);
for my $name (sort keys %mixed) {
    same($name, $requests, $mixed{$name}, state => $name =~ /LIMIT/ ? '' : '53400');
    same("$name, not reached", $generous, $mixed{$name});
}
same('an UPDATE', $requests, q(UPDATE docs SET answer = steadytext_generate('ROLE ' || body, 5) WHERE id <= 20));
same('an aggregate', $requests, q(SELECT count(steadytext_generate('ROLE ' || body, 5)) FROM docs), state => '53400');
same('a cursor of a function', $generous, q(DO $$ DECLARE r record; BEGIN FOR r IN SELECT steadytext_generate('ROLE ' || body, 5) AS answer FROM docs LOOP EXIT; END LOOP; END $$));

# What an error cuts off, and no daemon had, costs nothing; slots and places among limits are free.
$cluster->sql("$unlimited; SELECT steadytext_rate_limit_set('app', requests => 100000, tokens => 100000000)");
$cluster->try_sql(q(SET statement_timeout = '300ms'; SELECT steadytext_generate('!fault:hold ' || body) FROM docs), user => 'app');
ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'), 0, 5), 'a timeout leaves no slot');
is($cluster->sql(q(SELECT count(steadytext_generate('after ' || body)) FROM docs), user => 'app'), 1000, 'and limits go on');

# With a generous limit, as fast as a batch under the same limit.
{
    my $slow = $cluster->start_echo(name => 'slow', options => [ '--slots', 64, '--delay-ms', 50, '--fingerprint', 'slow:1' ]);
    $cluster->append_conf("steadytext.daemons = '$slow->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT string_agg(state, ' ') FROM steadytext_daemons), 'ready', 20), 'a daemon of 64 slots and 50 ms');
    my $seconds = sub { my ($query) = @_; my $start = time; $cluster->sql($query, user => 'app'); return time - $start };
    my %limits = (
        requests => q(SELECT steadytext_rate_limit_set('app', requests => 1000000)),
        tokens   => q(SELECT steadytext_rate_limit_set('app', tokens => 100000000)),
        budget   => q(SELECT steadytext_budget_set('app', '7 days', 100000000, 'enforce')),
    );
    for my $name (sort keys %limits) {
        $cluster->sql("$unlimited; $limits{$name}");
        my @ratios;
        for (1 .. 3) {
            $run++;
            my $taken = $seconds->("SELECT max(steadytext_generate('s$run ' || body)) FROM docs");
            my $batch = $seconds->("SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'b$run ' || body FROM docs))");
            push @ratios, $batch / $taken;
        }
        cmp_ok($median->(@ratios), '>=', 0.8, sprintf '%s: %.2f of a batch', $name, $median->(@ratios));
    }
}

done_testing;
