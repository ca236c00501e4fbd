export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
echo 1 >n && tar -cf a.tar n && rm n && mkdir n && echo 2 >n/i && tar -rf a.tar n && rm -r n