# Databases whose encoding lacks characters: an answer that does not fit is its row's failure, and holds up nobody.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster  = SteadyText::Cluster->new;
my $fallback = '[steadytext: no answer available]';
my $emoji    = q('!fault:smile big smile');

for my $encoding (qw(LATIN1 EUC_JP SQL_ASCII)) {
    my $database = lc $encoding;
    $cluster->sql(qq(CREATE DATABASE $database ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0));
    my $sql = sub { my ($script) = @_; return $cluster->try_sql("SET client_encoding = 'UTF8'; SET client_min_messages = warning; $script", database => $database) };
    $sql->('CREATE EXTENSION pg_steadytext CASCADE');
    is($sql->(q(SELECT steadytext_generate('plain')))->{out}, 'plain', "$encoding: plain text is answered");
    my $takes = $encoding eq 'SQL_ASCII';
    my $fits  = $sql->("SELECT steadytext_generate($emoji)");
    if ($takes) {
        like($fits->{out}, qr/\xF0\x9F\x98\x80/, "$encoding: every text fits");
    }
    else {
        is($fits->{out}, $fallback, "$encoding: an answer that does not fit gives a fallback");
        like($fits->{err}, qr/WARNING:  22P05: .*the encoding of this database, $encoding, lacks/, "$encoding: the warning says why");
        is($sql->("SET steadytext.on_failure = 'error'; SELECT steadytext_generate($emoji)")->{state}, '22P05', "$encoding: or an error");
        is($sql->("SELECT count(*) FILTER (WHERE response = '$fallback'), count(*) FROM steadytext_generate_batch(ARRAY['one', $emoji, 'two'])")->{out}, '1|3',
            "$encoding: other rows of the statement go on");
        is($sql->("SELECT count(*) FROM steadytext_generate_stream($emoji)")->{out}, 1, "$encoding: a stream ends with one row");
    }
    is($sql->(q(SELECT steadytext_generate('after'); SELECT steadytext_frecency_refresh() IS NOT NULL; SELECT count(*) FROM steadytext_cache WHERE prompt = 'after'))->{out},
        "after\nt\n1", "$encoding: the keeper goes on");
}

# What daemons tell of themselves is shown everywhere, with question marks for what does not fit.
{
    my $smile = "\xF0\x9F\x98\x80";
    my $odd = $cluster->start_echo(name => 'odd', options => [ '--model', "model $smile", '--fingerprint', "print $smile", '--name', "name $smile" ]);
    $cluster->sql("SELECT steadytext_daemon_register('$odd->{endpoint}')");
    ok($cluster->poll_until(qq(SELECT count(*) > 0 FROM steadytext_models() WHERE model = 'model $smile' AND served)), 'a daemon has a model of an odd name');
    for my $encoding (qw(LATIN1 EUC_JP SQL_ASCII)) {
        my $in = { database => lc $encoding };
        my $shown = $encoding eq 'SQL_ASCII' ? $smile : '?';
        is($cluster->sql(qq(SELECT DISTINCT model FROM steadytext_models() WHERE model LIKE 'model %'), %$in), "model $shown", "$encoding: steadytext_models()");
        is($cluster->sql(qq(SELECT fingerprint FROM steadytext_daemons WHERE endpoint = '$odd->{endpoint}'), %$in), "print $shown", "$encoding: steadytext_daemons");
        like($cluster->sql(qq(SELECT models_loaded FROM _steadytext.daemon_health() WHERE endpoint = '$odd->{endpoint}'), %$in), qr/"model \Q$shown\E"/, "$encoding: what the keeper writes of daemons");
        is($cluster->try_sql($_, %$in)->{err}, '', "$encoding: $_") for 'SELECT count(details) FROM steadytext_health_check()', 'SELECT count(labels) FROM steadytext_metrics()', 'SELECT length(steadytext_prometheus()) > 1000',
            'SELECT count(*) FROM steadytext_selfcheck()', 'SELECT * FROM steadytext_daemon_status()', 'SELECT count(model) FROM pg_stat_steadytext', 'SELECT * FROM steadytext_rate_limit_status';
        $cluster->sql('SELECT steadytext_daemon_status(); SELECT steadytext_frecency_refresh()', %$in);
        ok($cluster->wait_for(sub { $cluster->sql(qq(SELECT count(*) FROM steadytext_daemon_health WHERE endpoint = '$odd->{endpoint}'), %$in) == 1 }, 20), "$encoding: the keeper has written it");
    }
    $cluster->sql("SELECT steadytext_daemon_unregister('$odd->{endpoint}')");

    # So is whose incident it is, where the path of its socket is text of no encoding that the database knows.
    my @subjects = map { "ipc://" . $cluster->run_dir . "/$_.sock" } "odd-$smile", "cut-\xF0\x9F";
    $cluster->sql('ALTER SYSTEM RESET steadytext.daemons');
    $cluster->reload;
    $cluster->append_conf("steadytext.incident_delay = '100ms'", "steadytext.daemons = '" . join(', ', $cluster->sql('SHOW steadytext.daemons'), @subjects) . "'");
    $cluster->reload;
    for my $encoding ('UTF8', 'LATIN1', 'EUC_JP', 'SQL_ASCII') {
        my $in = $encoding eq 'UTF8' ? {} : { database => lc $encoding };
        ok($cluster->wait_for(sub { $cluster->sql("SELECT steadytext_generate('wake up'); SELECT count(*) FROM steadytext_incidents WHERE condition = 'daemon_down' AND subject LIKE 'ipc:%.sock'", %$in) =~ /\n2$/ }, 30),
            "$encoding: the keeper has written incidents of daemons with odd names") or diag $cluster->sql('SELECT subject, condition FROM steadytext_incidents', %$in);
        is($cluster->try_sql("SET client_encoding = '$encoding'; COPY steadytext_incidents TO '" . $cluster->run_dir . "/incidents'; CREATE TEMP TABLE again (LIKE steadytext_incidents); COPY again FROM '" . $cluster->run_dir . "/incidents'", %$in)->{err}, '',
            "$encoding: and what a dump has of them can be restored");
        is($cluster->sql(q(SELECT count(DISTINCT subject) FROM steadytext_incidents WHERE subject LIKE '%/odd-?.sock' OR subject LIKE '%/cut-?.sock'), %$in), $encoding =~ /UTF8|SQL_ASCII/ ? 1 : 2,
            "$encoding: with question marks for what does not fit");
    }
    unlike($cluster->log, qr/ERROR:.*(?:no equivalent in encoding|invalid byte sequence)(?!.*\n.*STATEMENT)/, 'no worker failed for a character');
}

# A role whose name is not ASCII has answers of its own, which are written.
{
    my $asked = $cluster->try_sql(qq(SET client_encoding = 'UTF8'; CREATE ROLE "\xC3\xA9va"; SET ROLE "\xC3\xA9va"; SELECT steadytext_generate('mine'); RESET ROLE;
        SELECT steadytext_frecency_refresh() IS NOT NULL; SELECT scope_role = '"\xC3\xA9va"'::regrole FROM steadytext_cache WHERE prompt = 'mine'), database => 'latin1');
    is($asked->{out}, "mine\nt\nt", 'a role with an accent in its name') or diag $asked->{err};
}
done_testing;
