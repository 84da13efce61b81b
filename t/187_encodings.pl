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

# A role whose name is not ASCII has answers of its own, which are written.
{
    my $asked = $cluster->try_sql(qq(SET client_encoding = 'UTF8'; CREATE ROLE "\xC3\xA9va"; SET ROLE "\xC3\xA9va"; SELECT steadytext_generate('mine'); RESET ROLE;
        SELECT steadytext_frecency_refresh() IS NOT NULL; SELECT scope_role = '"\xC3\xA9va"'::regrole FROM steadytext_cache WHERE prompt = 'mine'), database => 'latin1');
    is($asked->{out}, "mine\nt\nt", 'a role with an accent in its name') or diag $asked->{err};
}
done_testing;
